package scenario

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/net/dns/dnsmessage"

	"globalnet/lab"
	"globalnet/lab/labtest"
	"globalnet/lab/topology"
)

// A name server is asked by UDP ASSOCIATE (RFC 1928 section 7).
func onionUDP(t *testing.T, l *lab.Lab) {
	var control, udp net.Conn
	must(t, l.Node("a").Namespace().Do(func() (err error) {
		if control, err = net.Dial("tcp4", socksPort.String()); err != nil {
			return err
		}
		control.SetDeadline(time.Now().Add(20 * time.Second))
		control.Write([]byte{5, 1, 0})
		if _, err := io.ReadFull(control, make([]byte, 2)); err != nil {
			return err
		}
		control.Write([]byte{5, 3, 0, 1, 0, 0, 0, 0, 0, 0})
		b := make([]byte, 10)
		if _, err := io.ReadFull(control, b); err != nil {
			return err
		}
		if b[1] != 0 || b[3] != 1 {
			t.Fatalf("answer to UDP ASSOCIATE %v", b)
		}
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), uint16(b[8])<<8|uint16(b[9]))
		udp, err = net.Dial("udp4", at.String())
		return err
	}))
	defer control.Close()
	defer udp.Close()
	server := lab.DNSServer.As4()
	head := append(append([]byte{0, 0, 0, 1}, server[:]...), 0, 53)
	q := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, RecursionDesired: true}, Questions: []dnsmessage.Question{{
		Name: dnsmessage.MustNewName("www.example."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	query, err := q.Pack()
	must(t, err)
	for range 5 { // datagrams may be lost
		_, err = udp.Write(append(head, query...))
		must(t, err)
		udp.SetReadDeadline(time.Now().Add(3 * time.Second))
		b := make([]byte, 2000)
		n, err := udp.Read(b)
		if err != nil {
			continue
		}
		var answer dnsmessage.Message
		if n < len(head) || answer.Unpack(b[len(head):n]) != nil || len(answer.Answers) != 1 {
			t.Fatalf("answer %x", b[:n])
		}
		if a, ok := answer.Answers[0].Body.(*dnsmessage.AResource); !ok || netip.AddrFrom4(a.A) != lab.WebServer {
			t.Errorf("answer %v", answer.Answers[0])
		}
		return
	}
	t.Error("no answer to five questions")
}

// A session of ssh: both sides speak when they like, and keys tell who they are.
func onionSSH(t *testing.T, l *lab.Lab) {
	at := netip.AddrPortFrom(lab.WebServer, 22)
	key := labtest.SSHServer(t, l.Node(topology.Internet).Namespace(), at.String())
	conn, err := through(l, "a", at, "ssh")
	must(t, err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	c, channels, requests, err := ssh.NewClientConn(conn, "server", &ssh.ClientConfig{User: "a", HostKeyCallback: ssh.FixedHostKey(key)})
	must(t, err)
	client := ssh.NewClient(c, channels, requests)
	session, err := client.NewSession()
	must(t, err)
	session.Stdin = strings.NewReader(strings.Repeat("line\n", 20000))
	out, err := session.Output("cat")
	if err != nil || len(out) != 100000 {
		t.Errorf("%d bytes came back, %v", len(out), err)
	}
}
