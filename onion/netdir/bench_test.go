package netdir

import (
	"testing"
	"time"

	"globalnet/internal/identity"
)

// BenchmarkFirstSync is a node that comes to a neighbour who knows 2000 relays
// with two vouches each, over TCP and TLS on this machine.
func BenchmarkFirstSync(b *testing.B) {
	const n = 2000
	raws := make([][]byte, n)
	for i := range raws {
		id := person(b, 10000+i)
		d := simple(1)
		d.Vouches = []Vouch{SignVouch(person(b, 1), id.NodeID()), SignVouch(person(b, 2), id.NodeID())}
		raws[i] = signed(b, id, d)
	}
	for b.Loop() {
		b.StopTimer()
		l, all := stations(b, 1)
		full, fresh := all[0], newStation(b, l, person(b, 999))
		for _, raw := range raws {
			if _, err := full.dir.Add(time.Now(), raw, 0); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		full.gossip.SetNeighbours([]identity.NodeID{fresh.node})
		fresh.gossip.SetNeighbours([]identity.NodeID{full.node})
		<-fresh.gossip.Synced()
		b.StopTimer()
		if got := len(fresh.dir.Relays(time.Now())); got != n {
			b.Fatalf("%d of %d", got, n)
		}
		b.ReportMetric(float64(full.dir.Counters()["directory_gossip_bytes_sent"]), "bytes/sync")
		full.stop()
		fresh.stop()
		b.StartTimer()
	}
}

func BenchmarkParse(b *testing.B) {
	id := person(b, 1)
	raw := signed(b, id, rich(b, id))
	known, err := Parse(raw)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			parse(raw, nil)
		}
	})
	b.Run("again", func(b *testing.B) {
		for b.Loop() {
			parse(raw, known)
		}
	})
}
