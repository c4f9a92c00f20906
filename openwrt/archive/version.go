package archive

import (
	"strconv"
	"strings"
)

// CompareVersions compares versions as both managers do those of our packages: numbers by
// value, a suffix such as _rc1 before nothing, _git after. It returns -1, 0 or 1.
func CompareVersions(a, b string) int {
	for a != "" || b != "" {
		var x, y string
		x, a = versionPart(a)
		y, b = versionPart(b)
		if x == y {
			continue
		}
		n, errX := strconv.ParseUint(x, 10, 64)
		m, errY := strconv.ParseUint(y, 10, 64)
		if errX == nil && errY == nil {
			if n != m {
				return sign(n > m)
			}
			continue
		}
		if rx, ry := rank(x), rank(y); rx != ry {
			return sign(rx > ry)
		}
		return sign(x > y)
	}
	return 0
}

func sign(greater bool) int {
	if greater {
		return 1
	}
	return -1
}

// versionPart cuts a run of digits, or of letters with what separates them.
func versionPart(v string) (part, rest string) {
	isDigit := func(c byte) bool { return c >= '0' && c <= '9' }
	if v == "" {
		return "", ""
	}
	if v[0] == '~' { // the hash of a commit orders nothing
		if i := strings.IndexByte(v, '-'); i > 0 {
			return versionPart(v[i:])
		}
		return "", ""
	}
	i := 1
	for i < len(v) && isDigit(v[i]) == isDigit(v[0]) && !strings.ContainsRune("~.-_", rune(v[i])) {
		i++
	}
	return v[:i], v[i:]
}

// rank orders what may follow a number.
func rank(part string) int {
	switch part {
	case "_alpha":
		return -4
	case "_beta":
		return -3
	case "_pre":
		return -2
	case "_rc":
		return -1
	case "":
		return 0
	case "-r":
		return 1
	case ".":
		return 3
	}
	return 2
}
