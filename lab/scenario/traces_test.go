package scenario

import "github.com/vishvananda/netlink"

// table is the agent's routing table.
const (
	table       = 18245
	tableFilter = netlink.RT_FILTER_TABLE
)

var ourTable = &netlink.Route{Table: table}
