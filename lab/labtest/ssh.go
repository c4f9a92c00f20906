package labtest

import (
	"crypto/ed25519"
	"io"
	"net"
	"testing"

	"golang.org/x/crypto/ssh"

	"globalnet/lab/netns"
)

// SSHServer serves SSH at an address of a namespace until the test ends, and returns the
// key by which clients know it. It lets everybody in; all its commands are cat.
func SSHServer(t testing.TB, ns *netns.Namespace, address string) ssh.PublicKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(key)
	var l net.Listener
	err = ns.Do(func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveSSH(conn, config)
		}
	}()
	return key.PublicKey()
}

func serveSSH(conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range requests {
				r.Reply(r.Type == "exec", nil)
				if r.Type == "exec" {
					go func() {
						io.Copy(channel, channel)
						channel.SendRequest("exit-status", false, []byte{0, 0, 0, 0})
						channel.Close()
					}()
				}
			}
		}()
	}
}
