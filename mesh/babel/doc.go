// Package babel is a Babel speaker, RFC 8966, as a state machine, with the delay
// measurements of RFC 9616. docs/protocols/babel.md says what it sends and when.
//
// A Speaker has no sockets, goroutines, clock or log. It is told what happened and
// when (HandlePacket, HandleTimeout, AddInterface, LinkDown …), and after each call
// its owner carries out what NextEvent hands out and sets a timer for NextTimeout.
// All state belongs to the Speaker; its methods must not be called concurrently.
package babel
