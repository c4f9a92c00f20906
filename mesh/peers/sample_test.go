package peers

import (
	"reflect"
	"testing"
	"time"

	"globalnet/internal/identity"
)

func TestSampleIsBounded(t *testing.T) {
	b := newBook()
	for i := range 200 {
		b.Add(start, nodeID(1000+i%20), entry(i+1))
	}
	for n, want := range map[int]int{-1: 0, 0: 0, 1: 1, 5: 5, 16: 16, 1000: MaxSample} {
		if got := len(b.Sample(start, nodeID(5000), n)); got != want {
			t.Errorf("sample of %d has %d", n, got)
		}
	}
}

func TestSampleTellsNothingAmiss(t *testing.T) {
	b := newBook()
	b.Configure(start, []Entry{{Node: nodeID(1), Addrs: addrPorts("192.168.1.2:18245", "93.1.1.1:18245")},
		{Node: nodeID(2), Addrs: addrPorts("192.168.1.3:18245")}})
	b.Add(start, nodeID(9), entry(3))
	b.Add(start, nodeID(9), entry(4))
	b.Add(start, nodeID(9), entry(5))
	b.Succeeded(start, nodeID(5))
	for range doubtful {
		b.Failed(start, nodeID(4))
	}
	want := map[identity.NodeID]Entry{
		nodeID(1): {Node: nodeID(1), Addrs: addrPorts("93.1.1.1:18245")}, // without the private address
		nodeID(5): entry(5),                                              // without a word on how it fares
	}
	got := b.Sample(start, nodeID(3), 16) // the asker is left out
	if len(got) != len(want) {
		t.Errorf("%d entries, want %d: %v", len(got), len(want), got)
	}
	for _, e := range got {
		if !reflect.DeepEqual(e, want[e.Node]) {
			t.Errorf("tells %+v, want %+v", e, want[e.Node])
		}
	}
}

// Who is connected must not show: connecting and losing changes no answer.
func TestSampleDoesNotShowConnections(t *testing.T) {
	b := newBook()
	for i := 1; i <= 40; i++ {
		b.Add(start, nodeID(1000), entry(i))
		if i <= 20 {
			b.Succeeded(start, nodeID(i))
		}
	}
	before := b.Sample(start, nodeID(5000), 16)
	for i := 1; i <= 20; i += 2 {
		b.Lost(start, nodeID(i))
	}
	if after := b.Sample(start, nodeID(5000), 16); !reflect.DeepEqual(before, after) {
		t.Error("the answer changed with the connections")
	}
	met := 0
	for _, e := range before {
		if b.records[e.Node].Good > 0 {
			met++
		}
	}
	if met != 8 {
		t.Errorf("%d of 16 have been connected, want half", met)
	}
}

func TestSampleIsStableAndCannotEnumerate(t *testing.T) {
	b := newBook()
	for i := range 900 {
		b.Add(start, nodeID(1000+i%30), entry(i+1))
	}
	first := b.Sample(start, nodeID(5000), 16)
	if !reflect.DeepEqual(first, b.Sample(start.Add(30*time.Minute), nodeID(5000), 16)) {
		t.Error("one asker hears different things within the hour")
	}
	told := make(map[identity.NodeID]bool)
	for asker := range 500 {
		for _, e := range b.Sample(start, nodeID(10000+asker), 16) {
			told[e.Node] = true
		}
	}
	if len(told) > sampleGroups*MaxSample || len(told) <= 2*MaxSample {
		t.Errorf("500 askers within the hour hear of %d nodes", len(told))
	}
	if reflect.DeepEqual(first, b.Sample(start.Add(2*time.Hour), nodeID(5000), 16)) {
		t.Error("an asker hears the same for ever")
	}
}
