// Package dht is the distributed hash table of the mesh: Kademlia with signed,
// versioned records, as a state machine. docs/protocols/dht.md says what is sent
// and when, and what it withstands.
//
// A DHT has no sockets, goroutines, clock or log. It is told what happened and
// when (HandlePacket, HandleTimeout, SetReachable, Get, Publish …), and after each
// call its owner carries out what NextEvent hands out and sets a timer for
// NextTimeout. All state belongs to the DHT; its methods must not be called
// concurrently. Node is the owner that runs one on a packet connection.
//
// Vocabulary, as in the Kademlia paper: a key is a place of 256 bits, the distance
// of two keys is their XOR, a contact is a node we know, k is how many nodes hold
// a record, a lookup asks ever closer contacts for the k closest to a key.
package dht
