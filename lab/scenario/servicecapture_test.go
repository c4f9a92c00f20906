package scenario

import (
	"bytes"
	"encoding/base32"
	"encoding/binary"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"globalnet/internal/identity"
	"globalnet/lab"
	"globalnet/lab/labtest"
	"globalnet/mesh/dht"
	"globalnet/onion"
	"globalnet/onion/service/key"
)

// The service is on s, a node that carries nothing for others; n is all it is linked to.
// Where s spoke as a relay or as a node of the hash table, its address would be in
// packets of these, which say nothing of the service.
//
//	a   b   c   d   e   f   h   n --- s
//	+---+---+---+---+---+---+---+
const captureHall = `router a b c d e f h n s
segment hall a b c d e f h n
segment attic n s
set s dht off
set s onion.relay 0
`

// captured is a packet that a node received.
type captured struct {
	node   string
	packet []byte // from the network header on
	to     netip.AddrPort
	from   netip.AddrPort
	proto  byte
}

// listenAll has tcpdump keep what a node receives on all of its interfaces: frames of
// its segments, and what was in them where its links are decrypted.
func listenAll(t *testing.T, n *lab.Node, file string) (stop func()) {
	t.Helper()
	cmd := exec.Command(labtest.RequireProgram(t, "tcpdump"), "-i", "any", "-Q", "in", "-y", "LINUX_SLL2", "-s", "0", "-U", "-Z", "root", "-B", "16384", "-w", file)
	var said bytes.Buffer
	cmd.Stderr = &said
	must(t, n.Start(cmd))
	eventually(t, "tcpdump listens on "+n.Name, func() bool {
		info, err := os.Stat(file)
		return err == nil && info.Size() >= 24
	})
	return func() {
		cmd.Process.Signal(syscall.SIGINT)
		cmd.Wait()
		if !strings.Contains(said.String(), "0 packets dropped by kernel") {
			t.Errorf("tcpdump on %s missed packets: %s", n.Name, &said)
		}
	}
}

// readCapture reads a file of tcpdump's, as it is written on this machine.
func readCapture(t *testing.T, node, file string) (list []captured) {
	t.Helper()
	b, err := os.ReadFile(file)
	must(t, err)
	if len(b) < 24 || binary.NativeEndian.Uint32(b) != 0xa1b2c3d4 || binary.NativeEndian.Uint32(b[20:]) != 276 { // LINKTYPE_LINUX_SLL2
		t.Fatalf("capture of %s: not what tcpdump writes", node)
	}
	for b = b[24:]; len(b) >= 16; {
		n := int(binary.NativeEndian.Uint32(b[8:]))
		if len(b) < 16+n || n < 20 {
			break
		}
		p := captured{node: node, packet: b[36 : 16+n]}
		loopback := binary.BigEndian.Uint32(b[20:]) == 1
		if ip := p.packet; len(ip) >= 44 && ip[0]>>4 == 6 {
			p.proto = ip[6]
			p.from = netip.AddrPortFrom(netip.AddrFrom16([16]byte(ip[8:24])), binary.BigEndian.Uint16(ip[40:]))
			p.to = netip.AddrPortFrom(netip.AddrFrom16([16]byte(ip[24:40])), binary.BigEndian.Uint16(ip[42:]))
		}
		if !loopback { // where programs of the node itself speak
			list = append(list, p)
		}
		b = b[16+n:]
	}
	return list
}

// What other nodes receive while a service is published and visited names neither the
// node it is on nor the service: not the relays, introduction points, rendezvous points
// and holders of its descriptors, not its clients. Its address is where the mesh needs
// it: in what every node gets of every node, Babel's updates and whether it has a part of
// the hash table, and at both ends of packets between it and its guards, on their way.
func TestServiceCaptures(t *testing.T) {
	labtest.RequireProgram(t, "tcpdump")
	l := start(t, captureHall)
	dir := t.TempDir()
	var stops []func()
	for _, n := range l.Routers() {
		stops = append(stops, listenAll(t, n, filepath.Join(dir, n.Name)))
	}
	knows(t, l, "a", 7, 0)
	knows(t, l, "s", 8, 0)
	folder := t.TempDir()
	must(t, os.WriteFile(filepath.Join(folder, "index.html"), []byte("hidden"), 0o600))
	owner(t, l, "s", "service", "add", "web", "--dir", folder)
	address := reachable(t, l, "s", "web")
	guards := make(map[netip.Addr]bool)
	parts := make(map[identity.NodeID]string)
	look := func() {
		for _, g := range onionStatus(t, l, "s").Guards {
			if g.Used || g.Failed > 0 || g.Circuits > 0 {
				guards[g.Node.Address()] = true
			}
		}
		for _, c := range circuits(t, l, "a") {
			if c.Purpose == "service" && len(c.Path) > 0 {
				parts[c.Path[len(c.Path)-1]] = "rendezvous or introduction point"
			}
		}
	}
	for range 3 {
		sees(t, l, "a", address, "hidden")
		look()
		owner(t, l, "a", "newnym")
	}
	for _, stop := range stops {
		stop()
	}
	look()

	node, err := l.Node("s").ID()
	must(t, err)
	service, err := key.ParseAddress(address)
	must(t, err)
	needles := needlesOf(node, service)
	found := make(map[string]int)
	wrong := make(map[string]bool)
	inside, held := 0, 0
	for _, n := range l.Routers() {
		if n.Name == "s" {
			continue
		}
		id, err := n.ID()
		must(t, err)
		for _, p := range readCapture(t, n.Name, filepath.Join(dir, n.Name)) {
			switch {
			case p.proto == unix.IPPROTO_TCP && p.to.Port() == onion.ChannelPort:
				inside++
			case p.proto == unix.IPPROTO_UDP && p.to.Port() == dht.Port:
				held++
			}
			for what, needle := range needles {
				if !bytes.Contains(p.packet, needle) {
					continue
				}
				why := allowed(p, what, node.Address(), guards)
				if why != "" {
					found[n.Name+": "+what+" in "+why]++
				} else if !wrong[n.Name+what] { // one of each kind
					wrong[n.Name+what] = true
					t.Errorf("%s (%s, guard of s: %v) received %s in %v > %v, protocol %d: %x", n.Name, parts[id], guards[id.Address()], what,
						p.from, p.to, p.proto, p.packet[:min(len(p.packet), 120)])
				}
			}
		}
	}
	// The capture sees what it should find: links are decrypted, the guard is a guard.
	if inside == 0 || held == 0 || !slices.ContainsFunc(slices.Collect(maps.Keys(found)), func(s string) bool { return strings.Contains(s, "guard") }) {
		t.Errorf("%d packets of channels, %d of the hash table, %v were captured", inside, held, found)
	}
	strangers := 0
	for part := range parts {
		if !guards[part.Address()] {
			strangers++
		}
	}
	if strangers == 0 || len(guards) > 4 {
		t.Errorf("%d guards, and %d rendezvous points beside them: nothing is said of these", len(guards), strangers)
	}
	for _, what := range slices.Sorted(maps.Keys(found)) {
		t.Logf("%5d × %s", found[what], what)
	}
}

// needlesOf is what must not be found, in the forms in which it is sent or written.
func needlesOf(node, service identity.NodeID) map[string][]byte {
	address := node.Address()
	bin := address.AsSlice()
	text := base32.StdEncoding.WithPadding(base32.NoPadding)
	return map[string][]byte{
		"the node's address":           bin,
		"the node's address, its hash": bin[4:],
		"the node's address in text":   []byte(address.String()),
		"the node's key":               node[:],
		"the node's key in text":       []byte(node.String()),
		"the node's key in capitals":   []byte(text.EncodeToString(node[:])[:50]),
		"the service's key":            service[:],
		"the service's key in text":    []byte(service.String()),
	}
}

// allowed says why a node may receive what names the service's node; "" if it may not.
func allowed(p captured, what string, node netip.Addr, guards map[netip.Addr]bool) string {
	if !strings.HasPrefix(what, "the node's address") || strings.Contains(what, "text") {
		return ""
	}
	const babelPort = 6696
	peer := p.to
	if p.to.Addr() == node {
		peer = p.from
	}
	head := p.packet[:min(40, len(p.packet))]
	switch {
	case p.proto == unix.IPPROTO_UDP && p.to.Port() == babelPort:
		return "Babel"
	case p.proto == unix.IPPROTO_UDP && p.to == netip.AddrPortFrom(node, dht.Port):
		return "a question whether it has a part of the hash table" // on its way; Babel names all nodes
	case p.proto == unix.IPPROTO_ICMPV6 && p.from.Addr() == node && len(p.packet) >= 88 && bytes.Equal(p.packet[72:88], node.AsSlice()):
		return "the answer that it has none"
	case bytes.Contains(p.packet[len(head):], node.AsSlice()[4:]) || p.from.Addr() != node && p.to.Addr() != node:
		return "" // not as an end of the packet
	case p.proto == unix.IPPROTO_TCP && guards[peer.Addr()] && (p.to.Port() == onion.ChannelPort || p.from.Port() == onion.ChannelPort):
		return "a channel with a guard"
	case p.node == "n" && (p.to.Port() == onion.DirectoryPort || p.from.Port() == onion.DirectoryPort):
		return "gossip with a neighbour"
	}
	return ""
}
