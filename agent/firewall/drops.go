package firewall

import "github.com/google/nftables"

// Drops returns the chains of this network namespace, as table/chain, that drop
// what comes in unless a rule accepts it; none of them is ours.
func Drops() ([]string, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, err
	}
	chains, err := conn.ListChains()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, c := range chains {
		if c.Hooknum != nil && *c.Hooknum == *nftables.ChainHookInput && c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop && c.Table.Name != tableName {
			names = append(names, c.Table.Name+"/"+c.Name)
		}
	}
	return names, nil
}
