package policy

import (
	"errors"
	"fmt"
	"strings"
)

// reserved are the names that mean something only nearby, or nothing in the DNS:
// RFC 6761, 6762, 7686, 8375, 9476, and what routers call their own networks. The zone of the
// services, gnet.alt, is below alt.
var reserved = []string{"localhost", "localdomain", "local", "internal", "intranet", "private", "corp", "home",
	"lan", "arpa", "alt", "onion", "i2p", "invalid"}

// ErrName means that a name is not one of the internet.
var ErrName = errors.New("not a name of the internet")

// CheckName says what is wrong with a name that is to be looked up in the DNS. It
// refuses whatever some resolver would take for an address (127.1, 0x7f.1,
// 2130706433), and names that have no place in the public DNS.
func CheckName(name string) error {
	labels := strings.Split(name, ".")
	last := strings.ToLower(labels[len(labels)-1])
	switch {
	case len(name) > 253:
		return fmt.Errorf("%w: longer than 253 bytes", ErrName)
	case last == "":
		return fmt.Errorf("%w: it ends in a dot or is empty", ErrName)
	case len(labels) == 1:
		return fmt.Errorf("%w: it has no dot", ErrName)
	}
	for _, l := range labels {
		if !validLabel(l) {
			return fmt.Errorf("%w: a part is empty, too long, or has other characters than letters, digits, - and _", ErrName)
		}
	}
	if isNumber(last) {
		return fmt.Errorf("%w: it ends in a number", ErrName)
	}
	for _, r := range reserved {
		if last == r {
			return fmt.Errorf("%w: .%s is not in the DNS", ErrName, r)
		}
	}
	return nil
}

func validLabel(l string) bool {
	if len(l) == 0 || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
		return false
	}
	for _, c := range []byte(l) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// isNumber reports whether the last part of a name makes it an IPv4 address to some
// parsers (the rule of the WHATWG URL standard: all digits, or 0x and hexadecimal digits).
func isNumber(last string) bool {
	digits, hex := strings.CutPrefix(last, "0x")
	for _, c := range []byte(digits) {
		if (c < '0' || c > '9') && (!hex || c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
