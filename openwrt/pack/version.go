package pack

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// versionFormat is what apk takes, which opkg takes too.
var versionFormat = regexp.MustCompile(`^[0-9]+(\.[0-9]+)*[a-z]?(_(alpha|beta|pre|rc|cvs|svn|git|hg|p)[0-9]*)*(~[0-9a-f]+)?(-r[0-9]+)?$`)

// ValidVersion reports whether both managers accept v.
func ValidVersion(v string) bool { return len(v) <= 128 && versionFormat.MatchString(v) }

var describeFormat = regexp.MustCompile(`^v?([0-9]+(?:\.[0-9]+)*)(?:-(alpha|beta|rc)\.?([0-9]*))?(?:-([0-9]+)-g([0-9a-f]+))?$`)

// Version turns what `git describe --always` says into the version of a package,
// revision 1. A commit after a tag, or without one, has its time in it, so that
// later builds are newer. What is neither a tag nor a commit is an error: a name
// that no manager can order would break the next upgrade.
func Version(describe string, commit time.Time) (string, error) {
	describe, dirty := strings.CutSuffix(describe, "-dirty")
	stamp := "_git" + commit.UTC().Format("20060102150405")
	m := describeFormat.FindStringSubmatch(describe)
	isHash := len(describe) >= 7 && strings.Trim(describe, "0123456789abcdef") == ""
	v := ""
	switch {
	case isHash:
		v = "0" + stamp + "~" + describe
	case m == nil:
		return "", fmt.Errorf("version %q: want a tag such as v1.2.3, or a commit", describe)
	default:
		v = m[1]
		if m[2] != "" {
			v += "_" + m[2] + m[3]
		}
		if m[5] != "" {
			v += stamp + "~" + m[5]
		} else if dirty {
			v += stamp
		}
	}
	v += "-r1"
	if !ValidVersion(v) {
		return "", fmt.Errorf("version %q of %q", v, describe)
	}
	return v, nil
}
