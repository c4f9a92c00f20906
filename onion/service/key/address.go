// Package key holds what a hidden service is known by: its long-term key and
// address, the blinded keys and secrets that follow from it for each period, and
// the keys of clients that are let in.
//
// The shape is that of rend-spec-v3, the bytes are in docs/protocols/service.md.
// The package has no state; only the files of keys touch the disk.
package key

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"globalnet/internal/blind"
	"globalnet/internal/identity"
)

// Zone is the name below which services are reached; .alt is for names that are
// not of the DNS (RFC 9476).
const Zone = "gnet.alt"

const (
	magnetScheme = "magnet"
	magnetTopic  = "urn:gnet:"
	maxLink      = 1024
	// MaxName bounds the name in a link, in bytes.
	MaxName = 64
)

// Host returns the name by which a service is opened.
func Host(service identity.NodeID) string { return service.String() + "." + Zone }

// ParseAddress reads an address: 56 characters, alone or followed by the zone. It
// refuses what no service can have.
func ParseAddress(text string) (identity.NodeID, error) {
	text = strings.TrimSuffix(text, ".")
	if i := len(text) - len(Zone); i > 0 && strings.EqualFold(text[i:], Zone) && text[i-1] == '.' {
		text = text[:i-1]
	}
	id, err := identity.ParseNodeID(text)
	if err != nil {
		return identity.NodeID{}, fmt.Errorf("reading a service's address: %w", err)
	}
	if _, err := blind.PublicKey(id[:], blind.Factor{}); err != nil {
		return identity.NodeID{}, fmt.Errorf("reading a service's address: %w", err)
	}
	return id, nil
}

// Link is what a magnet link carries: a key, and the name that somebody gave it. The
// name is a suggestion; nothing proves it.
type Link struct {
	Service identity.NodeID
	Name    string // may be empty
}

// String returns magnet:?xt=urn:gnet:ADDRESS&dn=NAME.
func (l Link) String() string {
	s := magnetScheme + ":?xt=" + magnetTopic + l.Service.String()
	if l.Name != "" {
		s += "&dn=" + url.QueryEscape(l.Name)
	}
	return s
}

// ParseLink reads a magnet link. Parameters that it does not know are passed over,
// as other programs put theirs there.
func ParseLink(text string) (Link, error) {
	if len(text) > maxLink {
		return Link{}, fmt.Errorf("magnet link of %d characters", len(text))
	}
	scheme, query, ok := strings.Cut(text, ":?")
	if !ok || !strings.EqualFold(scheme, magnetScheme) {
		return Link{}, errors.New("not a magnet link")
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return Link{}, fmt.Errorf("reading a magnet link: %w", err)
	}
	var l Link
	for _, topic := range values["xt"] {
		if len(topic) < len(magnetTopic) || !strings.EqualFold(topic[:len(magnetTopic)], magnetTopic) {
			continue
		}
		if !l.Service.IsZero() {
			return Link{}, errors.New("magnet link with two services")
		}
		if l.Service, err = ParseAddress(topic[len(magnetTopic):]); err != nil {
			return Link{}, err
		}
	}
	if l.Service.IsZero() {
		return Link{}, errors.New("magnet link without a service")
	}
	l.Name = values.Get("dn")
	if !ValidName(l.Name) {
		return Link{}, errors.New("magnet link with a bad name")
	}
	return l, nil
}

// ValidName reports whether a name can be shown as it is: short, and nothing in it
// that moves the cursor.
func ValidName(name string) bool {
	return len(name) <= MaxName && utf8.ValidString(name) &&
		strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}
