package firewall

import (
	"golang.org/x/sys/unix"

	"globalnet/agent/firewall/nft"
)

// Drops returns the chains of this network namespace, as table/chain, that drop
// what comes in unless a rule accepts it; none of them is ours.
func Drops() ([]string, error) {
	chains, err := nft.Chains()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, c := range chains {
		if c.Base && c.Hook == unix.NF_INET_LOCAL_IN && c.Drops && c.Table != tableName {
			names = append(names, c.Table+"/"+c.Name)
		}
	}
	return names, nil
}
