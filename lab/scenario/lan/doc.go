// Package lan holds the tests of the LAN edge: clients without any program of ours,
// behind real agents with a real firewall (DESIGN section 6).
package lan
