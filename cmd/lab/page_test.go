package main

import (
	"bufio"
	"io"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"globalnet/lab/labtest"
	"globalnet/lab/netns"
)

func TestWithPage(t *testing.T) {
	at := netip.MustParseAddrPort("127.0.0.1:8081")
	if got, ok := withPage("router x y\nradio x y", at); !ok || got != "router x y\nradio x y\nset x web.listen 127.0.0.1:8081\n" {
		t.Errorf("%q %v", got, ok)
	}
	for _, text := range []string{"router x\nset x web.listen 127.0.0.1:1\n", "nonsense", ""} {
		if got, ok := withPage(text, at); ok || got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestListenPage(t *testing.T) {
	for _, bad := range []string{"", "8080", "192.0.2.1:80", "localhost:80"} {
		if _, _, err := listenPage(bad); err == nil {
			t.Errorf("%q is no error", bad)
		}
	}
	first, at, err := listenPage("127.0.0.1:28080")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, next, err := listenPage(at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if next.Port() <= at.Port() {
		t.Errorf("beside %v it is at %v", at, next)
	}
}

// `lab run` prints where a router's page is; there it is, outside the lab, map included.
func TestRunHasThePage(t *testing.T) {
	h := newHome(t)
	if netns.Inside() { // where loopback is not up by itself
		if lo, err := netlink.LinkByName("lo"); err == nil {
			netlink.LinkSetUp(lo)
		}
	}
	cmd := h.command("run", "--agent", labtest.Agent(t)[0], "two")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	url := ""
	for lines := bufio.NewScanner(out); url == "" && lines.Scan(); {
		url = regexp.MustCompile(`http://[0-9.:]+/`).FindString(lines.Text())
	}
	go io.Copy(io.Discard, out)
	if url == "" {
		t.Fatal("no page is named")
	}
	client := http.Client{Timeout: 5 * time.Second}
	get := func(path string) string {
		r, err := client.Get(url + path)
		if err != nil {
			return err.Error()
		}
		defer r.Body.Close()
		text, _ := io.ReadAll(r.Body)
		return string(text)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		page, picture := get(""), get("v1/map")
		if strings.Contains(page, "GlobalNet") && strings.Count(picture, `"id"`) == 2 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the page is %s, the map %s", page, picture)
		}
	}
	client.CloseIdleConnections()
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
