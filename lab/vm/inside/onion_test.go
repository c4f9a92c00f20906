package inside

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
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
//	n0 ~ ~ n1 ~ ~ n2          n3, n4 beside n1
func TestService(t *testing.T) {
	require(t)
	radios := open(t, 5)
	// n0, n1, n3, n4 hear each other; n2 hears n1, n3 and n4.
	for i, mask := range []uint64{0b01, 0b11, 0b10, 0b11, 0b11} {
		if err := radios[i].SetGroups(mask); err != nil {
			t.Fatal(err)
		}
	}
	www := t.TempDir()
	if err := os.WriteFile(filepath.Join(www, "index.html"), []byte("hello over the air"), 0o644); err != nil {
		t.Fatal(err)
	}
	agents := settle(t, kernel.RadioMesh, radios, func(i int) []string {
		if i != 2 {
			return nil
		}
		return []string{"config hidden_service 'web'", "list port '80 " + www + "'"}
	})
	begin := time.Now()
	start(t, agents...)
	for _, a := range agents[1:] {
		reach(t, begin, agents[0], a)
	}
	var address string
	if !until(30*time.Second, func() bool {
		out, err := agents[2].call("service", "address", "web", "--config", agents[2].configFile())
		address = strings.TrimSpace(out)
		return err == nil
	}) {
		t.Fatalf("the service has no address: %q", address)
	}
	var body string
	var err error
	if !until(3*time.Minute, func() bool {
		body, err = get(t.Context(), radios[0], address)
		return err == nil
	}) {
		t.Fatalf("%s: %v\n%s", address, err, agents[0].Show(Binary, "onion", "--socket", agents[0].socket()))
	}
	if body != "hello over the air" {
		t.Errorf("the service says %q", body)
	}
	measured(t, "start of five agents to the answer of a hidden service", time.Since(begin).Seconds(), "s")
	again := time.Now()
	if _, err := get(t.Context(), radios[0], address); err != nil {
		t.Errorf("a second time: %v", err)
	}
	measured(t, "a second request to it", time.Since(again).Seconds(), "s")
	stop(t, agents)
}

// get fetches the page of a service through the SOCKS proxy in a radio's namespace.
func get(ctx context.Context, r *Radio, host string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
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
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/", nil)
	if err != nil {
		return "", err
	}
	req.Close = true
	if err := req.Write(c); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if resp.StatusCode != http.StatusOK {
		return "", errors.Join(err, errors.New(resp.Status))
	}
	return string(body), err
}
