package netdir

import (
	"encoding/binary"
	"errors"
	"time"

	"globalnet/internal/clock"
	"globalnet/internal/identity"
)

// A message of the gossip is kind (1) ‖ length of the body (2) ‖ body.
const (
	kindRoot       = 1 // digest over all buckets
	kindBuckets    = 2 // digest of each bucket: I want to know where we differ
	kindHave       = 3 // flags, lines: what the sender has
	kindWant       = 4 // NodeIDs: give me their descriptors
	kindDescriptor = 5 // age, descriptor
	kindGone       = 6 // NodeID: wanted, but not there any more
	kindVouch      = 7 // signature: I have a link with you
	kindTime       = 8 // level, seconds: mesh time

	messageHeader = 3
	maxMessage    = 8192
	lineSize      = 32 + 8 + 16 + 4
	maxLines      = 128
	maxWant       = 64
	maxBody       = 1 + maxLines*lineSize
	timeSize      = 1 + 8

	haveLast = 1 // flag of Have: the answer to Buckets is complete
)

var errMessage = errors.New("malformed gossip message")

func frame(dst []byte, kind byte, body ...[]byte) []byte {
	n := 0
	for _, b := range body {
		n += len(b)
	}
	dst = append(dst, kind)
	dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	for _, b := range body {
		dst = append(dst, b...)
	}
	return dst
}

func appendBuckets(dst []byte, all *[bucketCount]digest) []byte {
	for i := range all {
		dst = append(dst, all[i][:]...)
	}
	return dst
}

func parseBuckets(b []byte) (all [bucketCount]digest, err error) {
	if len(b) != bucketCount*digestSize {
		return all, errMessage
	}
	for i := range all {
		all[i] = digest(b[i*digestSize:])
	}
	return all, nil
}

// appendHave appends flags and at most maxLines offers.
func appendHave(dst []byte, last bool, offers []offer) []byte {
	var flags byte
	if last {
		flags = haveLast
	}
	dst = append(dst, flags)
	for _, o := range offers {
		dst = append(dst, o.node[:]...)
		dst = binary.BigEndian.AppendUint64(dst, o.sequence)
		dst = append(dst, o.sum[:]...)
		dst = appendAge(dst, o.age)
	}
	return dst
}

func parseHave(b []byte) (last bool, offers []offer, err error) {
	if len(b) < 1 || b[0]&^haveLast != 0 || (len(b)-1)%lineSize != 0 || len(b) > maxBody {
		return false, nil, errMessage
	}
	last, b = b[0]&haveLast != 0, b[1:]
	for ; len(b) > 0; b = b[lineSize:] {
		o := offer{node: identity.NodeID(b[:32]), age: parseAge(b[56:])}
		o.sequence = binary.BigEndian.Uint64(b[32:])
		copy(o.sum[:], b[40:])
		offers = append(offers, o)
	}
	return last, offers, nil
}

func appendNodes(dst []byte, nodes []identity.NodeID) []byte {
	for i := range nodes {
		dst = append(dst, nodes[i][:]...)
	}
	return dst
}

func parseNodes(b []byte) (nodes []identity.NodeID, err error) {
	if len(b) == 0 || len(b)%32 != 0 || len(b) > maxWant*32 {
		return nil, errMessage
	}
	for ; len(b) > 0; b = b[32:] {
		nodes = append(nodes, identity.NodeID(b[:32]))
	}
	return nodes, nil
}

// appendAge appends an age in seconds, rounded up: handing on makes nothing younger.
func appendAge(dst []byte, age time.Duration) []byte {
	seconds := (max(age, 0) + time.Second - 1) / time.Second
	return binary.BigEndian.AppendUint32(dst, uint32(min(seconds, 1<<31)))
}

func parseAge(b []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(b)) * time.Second
}

// appendTime appends level (1) ‖ seconds since 1970 (8).
func appendTime(dst []byte, s clock.Said) []byte {
	return binary.BigEndian.AppendUint64(append(dst, byte(s.Level)), uint64(max(s.Time.Unix(), 0)))
}

func parseTime(b []byte) (clock.Said, error) {
	if len(b) != timeSize || b[1] != 0 { // no year that can be said has so many seconds
		return clock.Said{}, errMessage
	}
	s := clock.Said{Level: clock.Level(b[0]), Time: time.Unix(int64(binary.BigEndian.Uint64(b[1:])), 0)}
	if !s.Valid() {
		return clock.Said{}, errMessage
	}
	return s, nil
}
