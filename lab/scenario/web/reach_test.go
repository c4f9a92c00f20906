package web

import (
	"net"
	"strings"
	"sync"
	"testing"

	"globalnet/lab"
	"globalnet/lab/labtest"
)

// Who reaches the page: the LAN, by the router's name and at an address of it; nobody from
// the mesh or from the internet, whatever name or address they take.
func TestWhoReachesThePage(t *testing.T) {
	curl := labtest.RequireProgram(t, "curl")
	l := start(t, `router r13 b
radio r13 b
uplink r13
client phone on r13
set r13 lan.interface lan
set r13 lan.dns 1
set r13 web.listen 10.77.0.1:8080
`)
	// ask returns the status; 000: nothing answered.
	ask := func(from *lab.Node, host, url string, more ...string) string {
		args := append([]string{"-s", "-m", "3", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: " + host, url + "/v1/session"}, more...)
		out, _ := from.Exec(t.Context(), curl, args...)
		return strings.TrimSpace(string(out))
	}
	phone, neighbour, internet := l.Node("phone"), l.Node("b"), l.Node("internet")
	const name, own = "router.gnet.alt", "10.77.0.1:8080"
	eventually(t, "the page in the LAN", func() bool {
		return ask(phone, name, "http://"+name) == "200" && ask(phone, own, "http://"+own) == "200"
	})
	for _, host := range []string{"evil.example", "10.77.0.1", name + ".evil.example"} {
		if got := ask(phone, host, "http://"+name); got != "421" {
			t.Errorf("as %s: %s", host, got)
		}
	}
	mesh, err := l.Node("r13").Address()
	must(t, err)
	eventually(t, "the mesh", func() bool {
		_, err := l.Ping(t.Context(), "b", "r13")
		return err == nil
	})
	public, _ := l.PublicAddress("r13")
	// The kernel takes packets to an address of the LAN on every interface.
	_, err = internet.Exec(t.Context(), "ip", "route", "replace", "10.77.0.1/32", "via", public.String())
	must(t, err)
	var asking sync.WaitGroup
	for _, x := range []struct {
		from *lab.Node
		addr string
	}{{neighbour, mesh.String()}, {internet, public.String()}, {internet, "10.77.0.1"}} {
		for port, host := range map[string]string{"80": name, "8080": own, "18321": name} {
			asking.Go(func() {
				if got := ask(x.from, host, "http://"+net.JoinHostPort(x.addr, port)); got != "000" && got != "403" {
					t.Errorf("from %s to %s, port %s, as %s: %s", x.from.Name, x.addr, port, host, got)
				}
			})
		}
	}
	asking.Wait()
	if got := ask(internet, own, "http://10.77.0.1:8080", "-X", "POST", "-H", "Content-Type: application/json", "-d", `{"password":"mine alone"}`); got == "200" {
		t.Error("somebody from the internet set the password")
	}
}
