package nft_test

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"globalnet/agent/firewall/nft"
	"globalnet/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

const table = "test"

// A batch may be longer than what a socket holds of answers, and is made as a whole or not.
func TestBatch(t *testing.T) {
	ns := labtest.Namespace(t, "router")
	err := ns.Do(func() error {
		var good nft.Batch
		good.AddTable(table)
		good.AddCounter(table, "seen")
		good.AddBase(table, "input", nft.Hook{Number: unix.NF_INET_LOCAL_IN, Kind: "filter", Priority: -7})
		good.AddChain(table, "end")
		for range 400 {
			good.AddRule(table, "input", nft.Meta(unix.NFT_META_L4PROTO), nft.Equal([]byte{unix.IPPROTO_UDP}), nft.Count("seen"), nft.GoTo("end"))
		}
		bad := good
		bad.AddRule(table, "input", nft.GoTo("nowhere"))
		bad.AddRule(table, "input", nft.Accept())
		if err := bad.Commit(); !errors.Is(err, unix.ENOENT) {
			t.Errorf("a chain that is not there: %v", err)
		}
		if has, err := nft.HasTable(table); err != nil || has {
			t.Errorf("half of a batch was made: %v %v", has, err)
		}
		if err := good.Commit(); err != nil {
			t.Fatal(err)
		}
		for chain, want := range map[string]bool{"input": true, "end": false, "nowhere": false} {
			if has, err := nft.HasRules(table, chain); err != nil || has != want {
				t.Errorf("rules of %s: %v %v", chain, has, err)
			}
		}
		chains, err := nft.Chains()
		if err != nil || len(chains) != 2 || chains[0] != (nft.Chain{Table: table, Name: "input", Base: true, Hook: unix.NF_INET_LOCAL_IN}) ||
			chains[1] != (nft.Chain{Table: table, Name: "end"}) {
			t.Errorf("chains: %+v %v", chains, err)
		}
		if counters, err := nft.Counters(table); err != nil || len(counters) != 1 || counters["seen"] != 0 {
			t.Errorf("counters: %v %v", counters, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
