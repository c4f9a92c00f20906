package netdir

import (
	"bytes"
	"reflect"
	"slices"
	"testing"
	"time"

	"globalnet/internal/clock"
	"globalnet/internal/identity"
)

func TestMessages(t *testing.T) {
	offers := []offer{
		{node: person(t, 1).NodeID(), revision: revision{5, [16]byte{1}}, age: 3 * time.Second},
		{node: person(t, 2).NodeID(), revision: revision{1 << 63, [16]byte{2}}},
	}
	body := appendHave(nil, true, offers)
	last, got, err := parseHave(body)
	if err != nil || !last || !reflect.DeepEqual(got, offers) {
		t.Errorf("Have: %v %v %v", last, got, err)
	}
	if parseAge(appendAge(nil, 1500*time.Millisecond)) != 2*time.Second {
		t.Error("handing on makes younger")
	}
	if parseAge(appendAge(nil, -time.Second)) != 0 {
		t.Error("an age below zero")
	}
	for name, bad := range map[string][]byte{
		"empty": nil, "flags": {2}, "half a line": body[:len(body)-1], "too many": make([]byte, 1+(maxLines+1)*lineSize),
	} {
		if _, _, err := parseHave(bad); err == nil {
			t.Errorf("Have, %s: no error", name)
		}
	}
	for name, bad := range map[string][]byte{"empty": nil, "half a node": make([]byte, 33), "too many": make([]byte, 32*(maxWant+1))} {
		if _, err := parseNodes(bad); err == nil {
			t.Errorf("Want, %s: no error", name)
		}
	}
}

// FuzzMessages gives a session whatever comes, with a little state behind it.
func FuzzMessages(f *testing.F) {
	raw := signed(f, person(f, 3), simple(2))
	f.Add(byte(kindRoot), make([]byte, 16))
	f.Add(byte(kindBuckets), make([]byte, 4096))
	f.Add(byte(kindHave), appendHave(nil, true, []offer{{node: person(f, 3).NodeID(), revision: revision{9, [16]byte{}}}}))
	f.Add(byte(kindWant), appendNodes(nil, []identity.NodeID{person(f, 3).NodeID()}))
	f.Add(byte(kindDescriptor), append(make([]byte, 4), raw...))
	f.Add(byte(kindGone), make([]byte, 32))
	f.Add(byte(kindVouch), make([]byte, 64))
	f.Add(byte(kindTime), appendTime(nil, clock.Said{Level: clock.Held, Time: time.Unix(1_800_000_000, 0)}))
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		if len(body) > maxMessage {
			return
		}
		last, offers, err := parseHave(body)
		beyond := slices.ContainsFunc(offers, func(o offer) bool { return o.age > 1<<31*time.Second }) // all bounds of ages
		if err == nil && !beyond && !bytes.Equal(appendHave(nil, last, offers), body) {
			t.Error("Have does not come back")
		}
		if s, err := parseTime(body); err == nil && !bytes.Equal(appendTime(nil, s), body) {
			t.Error("Time does not come back")
		}
		d := directory(t, 1, 4)
		x := newExchange(start, d, person(t, 2).NodeID(), newBook(), newQuota(4))
		x.asked[person(t, 3).NodeID()] = promise{at: start}
		x.handle(start, kind, body)
		for range 100 {
			message, more := x.next(start, nil)
			if !more {
				return
			}
			if len(message) > messageHeader+maxMessage {
				t.Errorf("a message of %d bytes", len(message))
			}
		}
		t.Error("one message has a hundred answers")
	})
}
