package main

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"
)

func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		stop := countSeconds(&out, "dht get")
		time.Sleep(900 * time.Millisecond)
		stop()
		if out.Len() > 0 {
			t.Errorf("what is done within a second says %q", &out)
		}
		stop = countSeconds(&out, "dht get")
		time.Sleep(2500 * time.Millisecond)
		stop()
		if want := "\rdht get: 1 s\rdht get: 2 s\r\x1b[K"; out.String() != want {
			t.Errorf("%q, want %q", &out, want)
		}
	})
	var out bytes.Buffer
	waiting(&out, "dht get")() // no terminal: nothing is counted
	if out.Len() > 0 {
		t.Errorf("%q", &out)
	}
}

func TestAnswerEndsWaiting(t *testing.T) {
	var out bytes.Buffer
	w := &answerWriter{&out, func() { out.WriteString("<end>") }}
	w.Write([]byte("answer"))
	if out.String() != "<end>answer" {
		t.Error(&out)
	}
}
