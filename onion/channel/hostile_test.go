package channel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"globalnet/onion/cell"
	"globalnet/onion/layer"
)

// wire carries one direction of a TCP-like connection and lets a test change it.
type wire struct {
	net.Conn
	mu    sync.Mutex
	touch func(p []byte) // each Write
	sent  bytes.Buffer
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	q := bytes.Clone(p)
	w.sent.Write(q)
	if w.touch != nil {
		w.touch(q)
	}
	w.mu.Unlock()
	return w.Conn.Write(q)
}

func TestChangedOnTheWay(t *testing.T) {
	const one = cell.RecordPrefix + cell.HeaderSize + cell.RecordTag
	for _, tt := range []struct {
		name    string
		at      int
		control bool
		want    string // what ends the channel; "" if nothing does
	}{
		{"number of cells, none", 1, false, "record of 0 cells"},
		{"number of cells, many", 0, false, "record of 257 cells"},
		{"circuit", 2, false, "does not verify"},
		{"flags", 7, false, "does not verify"},
		{"tag", one - 1, false, "does not verify"},
		{"body of a relay cell, the circuit's business", one + 5, false, ""},
		{"body of a control cell", one + 5, true, "does not verify"},
		{"padding of a control cell", one + 100, true, "does not verify"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAccepter(false)
			x, y := net.Pipe()
			w := &wire{Conn: x}
			client, server := pair(t, w, y, Config{}, Config{Accept: a})
			ended := run(t, client, server)
			_, out, _, theirs := circuit(t, client, a)
			w.mu.Lock()
			w.touch = func(p []byte) { p[tt.at] ^= 1; w.touch = nil }
			w.mu.Unlock()
			if tt.control {
				out.SendCreate(nil)
			} else {
				sendCell(t, out, cell.SmallBody, 0, 7)
				out.Flush()
			}
			if tt.want == "" {
				theirs.waitEvent(t, "cell 232 flags 1")
				if theirs.bodies[0][5] != 6 {
					t.Error("the change was undone")
				}
				return
			}
			err := <-ended[1]
			ended[1] <- err
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v", err)
			}
			theirs.waitEvent(t, "destroy: channel lost")
		})
	}
}

func TestBreakingTheRules(t *testing.T) {
	tests := []struct {
		name, want string
		do         func(c *Channel)
	}{
		{"a circuit made twice", "made twice", func(c *Channel) {
			c.sendControl(cell.Create, 1<<31|5, nil)
			c.sendControl(cell.Create, 1<<31|5, nil)
		}},
		{"a circuit of the other side's numbers", "not theirs", func(c *Channel) { c.sendControl(cell.Create, 5, nil) }},
		{"destroy without a reason", "reason", func(c *Channel) { c.sendControl(cell.Destroy, 1<<31|5, nil) }},
		{"unknown command", "unknown command", func(c *Channel) { c.sendControl(cell.Command(77), 1, nil) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x, y := net.Pipe()
			client, server := pair(t, x, y, Config{}, Config{Accept: newAccepter(false)})
			ended := run(t, client, server)
			tt.do(client)
			err := <-ended[1]
			ended[1] <- err
			if !errors.Is(err, errProtocol) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// lazy never answers a Create.
type lazy struct{}

func (lazy) HandleCreate(*Leg, []byte) {}

func TestCellBeforeTheCircuitIsMade(t *testing.T) {
	x, y := net.Pipe()
	client, server := pair(t, x, y, Config{}, Config{Accept: lazy{}})
	ended := run(t, client, server)
	l, _ := client.Open(newRecorder())
	l.SendCreate(nil)
	sendCell(t, l, cell.SmallBody, 0, 0)
	l.Flush()
	err := <-ended[1]
	ended[1] <- err
	if err == nil || !strings.Contains(err.Error(), "not made yet") {
		t.Error(err)
	}
}

func TestKeysOfTheChannelStep(t *testing.T) {
	seed := [32]byte{1}
	for _, aes := range []bool{false, true} {
		send, get := newProtection(aes, seed), newProtection(aes, seed)
		for i := range recordsPerKey + 10 {
			h := []cell.Header{{Circ: uint32(i + 1), Command: cell.Relay}}
			sealed := send.sealHeads(nil, h)
			got, err := get.openHeads(nil, sealed, 1)
			if err != nil || got[0] != h[0] {
				t.Fatalf("record %d: %v, %v", i, got, err)
			}
			send.done()
			get.done()
		}
		if send.records != 10 || send.seed == seed {
			t.Error("the key has not stepped")
		}
	}
}

// FuzzReader feeds a channel with records of a node that holds the keys and
// breaks all rules.
func FuzzReader(f *testing.F) {
	f.Add([]byte{0x80, 0, 0, 1, 2, 0, 0x80, 0, 0, 1, 1, 0}, []byte("body"), byte(0))
	f.Add([]byte{0, 0, 0, 0, 0, 1}, []byte{0, 1, 7}, byte(1))
	f.Add([]byte{0x80, 0, 0, 9, 4, 1}, []byte{0, 1, 2}, byte(3))
	id := newIdentity(f)
	f.Fuzz(func(t *testing.T, heads, body []byte, cut byte) {
		seed := [32]byte{7}
		send := newProtection(false, seed)
		n := len(heads) / cell.HeaderSize
		if n > 60 || len(body) > cell.ControlSize {
			return
		}
		// Written by hand: the codec's types would not allow it.
		record := binary.BigEndian.AppendUint16(nil, uint16(n))
		record = send.head.Seal(record, send.next(&send.records), heads[:n*cell.HeaderSize], record[:2])
		for i := range n {
			h := cell.Header{Command: cell.Command(heads[6*i+4]), Flags: cell.Flags(heads[6*i+5])}
			b := make([]byte, h.BodySize())
			copy(b[:len(b)-cell.TagSize], body)
			if h.Command.Control() {
				send.sealControl(b)
			}
			record = append(record, b...)
		}
		record = record[:len(record)-min(len(record), int(cut))]
		x, y := net.Pipe()
		a := newAccepter(true)
		c := &Channel{
			cfg: Config{Identity: id, Accept: a, Budget: NewBudget(100)}, conn: x,
			send: newProtection(false, seed), get: newProtection(false, seed),
			closing: make(chan struct{}), legs: make(map[uint32]*Leg),
		}
		c.out.init()
		c.in = newBufioReader(x)
		done := make(chan error)
		go func() { done <- c.Run(t.Context()) }()
		go io.Copy(io.Discard, y)
		y.Write(record)
		y.Close()
		<-done
		if c.cfg.Budget.Used() != 0 || len(c.legs) != 0 {
			t.Fatalf("%d cells, %d circuits are left", c.cfg.Budget.Used(), len(c.legs))
		}
	})
}

// BenchmarkThroughput sends cells over loopback TCP to the other side.
func BenchmarkThroughput(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	x, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	y, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	a := newAccepter(false)
	client, server := pair(b, x, y, Config{}, Config{Accept: a})
	run(b, client, server)
	_, out, _, theirs := circuit(b, client, a)
	b.SetBytes(cell.LargeBody)
	var body layer.Buffer
	sent := 0
	for b.Loop() {
		for out.Queued() > MaxQueue/2 {
			time.Sleep(50 * time.Microsecond)
		}
		buf := NewBuffer()
		copy(buf[:cell.LargeBody], body[:])
		if err := out.Send(buf, buf[:cell.LargeBody], 0); err != nil {
			b.Fatal(err)
		}
		sent++
	}
	out.Flush()
	theirs.wait(b, "all", func() bool { return theirs.cells == sent })
	b.ReportMetric(float64(client.Stats().CellsOut)/float64(client.Stats().RecordsOut), "cells/record")
}
