// Package lan is what clients of a router's LAN use of the onion without any program
// of ours: a DNS listener (RFC 1035, RFC 6891) that gives names virtual addresses, and
// a transparent proxy that turns connections to them, or to any address, into streams.
// The firewall brings the connections here; that is package agent/lan's matter.
//
// A Pool maps names to addresses of 10.192.0.0/10 and fd67:6e65:7400::/64. The zone
// never leaves the router: names below it are answered here, known or not. Other names
// are looked up through exits, or refused. What clients ask for and connect to is
// neither logged nor kept longer than its time to live.
//
// DNS and Server own their sockets, connections and flows; all they started has ended
// when Run returns.
package lan
