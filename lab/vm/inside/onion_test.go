package inside

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"globalnet/mesh/kernel"
)

// TestService opens a hidden service two radio hops away: the request goes through
// the SOCKS proxy of n0, circuits of relays, WireGuard in the kernel and 802.11s.
//
//	phone --- n0 ~ ~ n1 ~ ~ n2          n3, n4 beside n1
func TestService(t *testing.T) { service(t, kernel.RadioMesh, false) }

// TestPhone opens it from a phone in the LAN of n0, by its name alone, over 802.11s and
// over an ad-hoc cell.
func TestPhone(t *testing.T) {
	for _, mode := range []kernel.RadioMode{kernel.RadioMesh, kernel.RadioAdHoc} {
		t.Run(string(mode), func(t *testing.T) { service(t, mode, true) })
	}
}

func service(t *testing.T, mode kernel.RadioMode, lan bool) {
	require(t)
	radios := open(t, 5)
	// n0, n1, n3, n4 hear each other; n2 hears n1, n3 and n4.
	for i, mask := range []uint64{0b01, 0b11, 0b10, 0b11, 0b11} {
		if err := radios[i].SetGroups(mask); err != nil {
			t.Fatal(err)
		}
	}
	site := website(t)
	var phone *Phone
	if lan {
		var err error
		if phone, err = NewPhone(radios[0]); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { phone.Close() })
	}
	agents := settle(t, mode, radios, func(i int) []string {
		switch {
		case i == 0 && lan:
			return []string{"config lan 'lan'", "list interface '" + lanIfname + "'", "option dns '1'"}
		case i == 2:
			return site
		}
		return nil
	})
	begin := time.Now()
	start(t, agents...)
	for _, a := range agents[1:] {
		reach(t, begin, agents[0], a)
	}
	address := visit(t, agents[0], agents[2])
	measured(t, "start of five agents to the answer of a hidden service, "+string(mode), time.Since(begin).Seconds(), "s")
	again := time.Now()
	if _, err := get(t.Context(), radios[0], address); err != nil {
		t.Errorf("a second time: %v", err)
	}
	measured(t, "a second request to it, "+string(mode), time.Since(again).Seconds(), "s")
	if lan {
		again = time.Now()
		body, addr, err := phone.Get(t.Context(), address)
		if err != nil || body != hello {
			t.Errorf("from the LAN, by %v: %q, %v", addr, body, err)
		}
		measured(t, "a phone in the LAN, name to page, "+string(mode), time.Since(again).Seconds(), "s")
	}
	stop(t, agents)
}

// hello is what the hidden services here say.
const hello = "hello over the air"

// website is the configuration of a hidden service.
func website(t *testing.T) []string {
	t.Helper()
	www := t.TempDir()
	if err := os.WriteFile(filepath.Join(www, "index.html"), []byte(hello), 0o644); err != nil {
		t.Fatal(err)
	}
	return []string{"config hidden_service 'web'", "list port '80 " + www + "'"}
}

// visit waits until one agent's SOCKS proxy reaches the hidden service of another,
// and returns its address.
func visit(t *testing.T, client, host *Agent) string {
	t.Helper()
	var address, body string
	var err error
	if !until(patience, func() bool {
		address, err = host.call("service", "address", "web", "--config", host.configFile())
		address = strings.TrimSpace(address)
		return err == nil
	}) {
		t.Fatalf("the service has no address: %v", err)
	}
	if !until(patience, func() bool {
		body, err = get(t.Context(), client.Radio, address)
		return err == nil
	}) {
		t.Fatalf("%s: %v\n%s", address, err, client.Show(Binary, "onion", "--socket", client.socket()))
	}
	if body != hello {
		t.Errorf("the service says %q", body)
	}
	return address
}

// get fetches the page of a service through the SOCKS proxy in a radio's namespace.
func get(ctx context.Context, r *Radio, host string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var c net.Conn
	err := r.Do(func() (err error) {
		c, err = new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:18248")
		return err
	})
	if err != nil {
		return "", err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline)
	}
	// RFC 1928: no authentication, CONNECT to a name, port 80.
	request := append([]byte{5, 1, 0, 5, 1, 0, 3, byte(len(host))}, host...)
	if _, err := c.Write(binary.BigEndian.AppendUint16(request, 80)); err != nil {
		return "", err
	}
	var answer [2 + 4]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return "", err
	}
	if answer[3] != 0 {
		return "", fmt.Errorf("SOCKS error %d", answer[3])
	}
	rest := map[byte]int{1: 4 + 2, 4: 16 + 2}[answer[5]]
	if rest == 0 {
		return "", errors.New("SOCKS answer without an address")
	}
	if _, err := io.ReadFull(c, make([]byte, rest)); err != nil {
		return "", err
	}
	return fetch(ctx, c, host)
}
