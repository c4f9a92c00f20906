package cell

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

func TestServiceBodies(t *testing.T) {
	establish := EstablishIntro{Key: [32]byte{1, 31: 2}, Rate: 25, Burst: 200, Signature: [64]byte{3, 63: 4}}
	if got, err := ParseEstablishIntro(AppendEstablishIntro(nil, establish)); err != nil || got != establish {
		t.Errorf("%+v, %v", got, err)
	}
	introduce := Introduce{Key: [32]byte{1}, Mark: [16]byte{2, 15: 9}, Effort: 1 << 31, Seed: [4]byte{3, 3: 7},
		Nonce: 1<<63 + 5, Request: []byte("request")}
	if got, err := ParseIntroduce(AppendIntroduce(nil, introduce)); err != nil || !reflect.DeepEqual(got, introduce) {
		t.Errorf("%+v, %v", got, err)
	}
	rendezvous := Rendezvous{Cookie{5, 15: 6}, []byte("reply")}
	if got, err := ParseRendezvous(AppendRendezvous(nil, rendezvous)); err != nil || !reflect.DeepEqual(got, rendezvous) {
		t.Errorf("%+v, %v", got, err)
	}
	for name, err := range map[string]error{
		"establish of version 2": second(ParseEstablishIntro(append([]byte{2}, make([]byte, establishIntroSize-1)...))),
		"establish cut":          second(ParseEstablishIntro(AppendEstablishIntro(nil, establish)[:100])),
		"introduce cut":          second(ParseIntroduce(AppendIntroduce(nil, introduce)[:introduceFixed])),
		"introduce of version 0": second(ParseIntroduce(make([]byte, 1000))),
		"introduce too long":     second(ParseIntroduce(append([]byte{1}, make([]byte, MaxMessage)...))),
		"cookie of zeros":        second(ParseCookie(make([]byte, CookieSize))),
		"long cookie":            second(ParseCookie(bytes.Repeat([]byte{1}, CookieSize+1))),
		"rendezvous, no reply":   second(ParseRendezvous(bytes.Repeat([]byte{1}, CookieSize))),
		"rendezvous, no cookie":  second(ParseRendezvous(make([]byte, 100))),
		"status":                 second(ParseIntroStatus(nil)),
	} {
		if !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(introTexts) != int(IntroRefused)+1 || IntroStatus(9).String() != "status 9" || IntroUnknown.String() == "" {
		t.Error("wrong words")
	}
}

// A Rendezvous1 fits in one cell forward, an Introduce of the longest request in two.
func TestServiceSizes(t *testing.T) {
	if n := MessageHeader + CookieSize + 32 + 1088 + 32 + TagSize; n > ForwardPayload(LargeBody) {
		t.Errorf("a rendezvous takes %d bytes", n)
	}
	var a Assembler
	form := AppendMessage(nil, Message{MsgIntroduce1, 0, make([]byte, MaxMessage)})
	var got int
	for _, part := range [][]byte{form[:ForwardPayload(LargeBody)], form[ForwardPayload(LargeBody):]} {
		if err := a.Feed(part, func(m Message) error { got = len(m.Body); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if got != MaxMessage {
		t.Errorf("an introduction of %d bytes came together", got)
	}
	for c := MsgEstablishIntro; c <= MsgRendezvous2; c++ {
		if err := a.Feed(AppendMessage(nil, Message{c, 1, nil}), nil); !errors.Is(err, ErrMessage) {
			t.Errorf("message %d on a stream: %v", c, err)
		}
	}
}

func FuzzServiceBodies(f *testing.F) {
	f.Add(AppendEstablishIntro(nil, EstablishIntro{Rate: 1}))
	f.Add(AppendIntroduce(nil, Introduce{Request: []byte("x")}))
	f.Add(AppendRendezvous(nil, Rendezvous{Cookie{1}, []byte("y")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := ParseEstablishIntro(b); err == nil && !bytes.Equal(AppendEstablishIntro(nil, m), b) {
			t.Fatalf("establish %x", b)
		}
		if m, err := ParseIntroduce(b); err == nil && !bytes.Equal(AppendIntroduce(nil, m), b) {
			t.Fatalf("introduce %x", b)
		}
		if m, err := ParseRendezvous(b); err == nil && !bytes.Equal(AppendRendezvous(nil, m), b) {
			t.Fatalf("rendezvous %x", b)
		}
	})
}
