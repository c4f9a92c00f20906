package lab

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"globalnet/lab/netns"
)

// masquerade hides what leaves through ifname behind its address.
//
// The kernel keeps the source port where it is free, whatever the destination,
// so a hole punched by one packet serves answers from elsewhere once the inside
// has sent there too: "cone". With symmetric, every connection gets a port drawn
// at random. With closed, what was not asked for from inside is dropped.
func masquerade(ns *netns.Namespace, ifname string, symmetric, closed bool) error {
	return ns.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return fmt.Errorf("NAT in %s: %w", ns.Name, err)
		}
		table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "lab"})
		out := c.AddChain(&nftables.Chain{
			Name: "postrouting", Table: table, Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
		})
		c.AddRule(&nftables.Rule{Table: table, Chain: out, Exprs: append(
			onInterface(expr.MetaKeyOIFNAME, ifname),
			&expr.Masq{FullyRandom: symmetric},
		)})
		if closed {
			drop := nftables.ChainPolicyAccept
			for name, hook := range map[string]*nftables.ChainHook{
				"input": nftables.ChainHookInput, "forward": nftables.ChainHookForward,
			} {
				chain := c.AddChain(&nftables.Chain{
					Name: name, Table: table, Type: nftables.ChainTypeFilter,
					Hooknum: hook, Priority: nftables.ChainPriorityFilter, Policy: &drop,
				})
				c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(
					onInterface(expr.MetaKeyIIFNAME, ifname),
					&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
					&expr.Bitwise{
						SourceRegister: 1, DestRegister: 1, Len: 4,
						Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED),
						Xor:  binaryutil.NativeEndian.PutUint32(0),
					},
					&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(0)},
					&expr.Verdict{Kind: expr.VerdictDrop},
				)})
			}
		}
		if err := c.Flush(); err != nil {
			return fmt.Errorf("NAT in %s (the kernel needs nf_tables and nft_masq): %w", ns.Name, err)
		}
		return nil
	})
}

func onInterface(key expr.MetaKey, ifname string) []expr.Any {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, ifname)
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
	}
}
