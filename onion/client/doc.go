// Package client is a node's own use of the onion: it keeps circuits ready, gives
// each stream one that fits its target and its isolation, and lets circuits rest
// after their time. docs/protocols/onion.md says what is on the wire; how paths
// are chosen is package path's matter.
//
// A Client owns the circuits. Its methods may be called from any goroutine.
package client
