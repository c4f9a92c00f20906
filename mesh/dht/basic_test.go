package dht_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"testing"

	"globalnet/mesh/dht"
	"globalnet/mesh/dht/dhttest"
	"globalnet/mesh/dht/wire"
)

func signer(i int) dht.KeySigner {
	seed := make([]byte, 32)
	binary.BigEndian.PutUint64(seed, uint64(i))
	return dht.KeySigner(ed25519.NewKeyFromSeed(seed))
}

func publication(i int, value []byte) dht.Publication {
	return dht.Publication{Type: dht.TypeGeneric, Salt: []byte("test"), Value: value, Signer: signer(i)}
}

func key(p dht.Publication) dht.Key {
	return wire.RecordKey(p.Type, [32]byte(p.Signer.Public()), p.Salt)
}

func modes(t *testing.T, f func(t *testing.T, cfg dht.Config)) {
	t.Run("iterative", func(t *testing.T) { f(t, dht.Config{}) })
	t.Run("membership", func(t *testing.T) { f(t, dht.Config{Membership: true}) })
}

func TestPublishAndGet(t *testing.T) {
	modes(t, func(t *testing.T, cfg dht.Config) {
		n := dhttest.New(1)
		nodes := n.Build(40, cfg)
		for i, size := range []int{0, 1, 900, 1000, 2000, 4096} {
			p := publication(i, bytes.Repeat([]byte{byte(i)}, size))
			put := nodes[i].Publish(p)
			if put.Err != nil || put.Stored < 8 || put.Of != 8 || put.Read < 8 {
				t.Fatalf("%d octets: stored on %d of %d, read on %d: %v", size, put.Stored, put.Of, put.Read, put.Err)
			}
			get := nodes[30].Get(p.Type, key(p))
			if get.Record == nil || !bytes.Equal(get.Record.Value, p.Value) {
				t.Fatalf("%d octets: got %+v", size, get)
			}
			t.Logf("%d octets: put %d requests %v, get %d requests %v, %d holders", size,
				put.Result.Requests, put.Result.Elapsed, get.Result.Requests, get.Result.Elapsed, get.Holders)
		}
	})
}
