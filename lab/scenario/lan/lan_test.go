package lan

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"globalnet/agent/control"
	"globalnet/lab"
	"globalnet/lab/labtest"
	"globalnet/lab/topology"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// patience is how long anything may take; it is no measurement.
const patience = 60 * time.Second

// A neighbourhood of four; a phone in the LAN of a; a and the exit d have the internet.
//
//	phone --- a - b - c - d
//	          |           |
//	          +-internet--+
const street = `router a b c d
radio a b c d
uplink d
uplink a
client phone on a
set d exit.policy all
set d exit.allow_private 203.0.113.0/24
set d exit.rule accept 203.0.113.0/24:*
set c exit.serve_port 80
set a lan.interface lan
`

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start runs a neighbourhood and ends it with the test.
func start(t *testing.T, text string, manual bool) *lab.Lab {
	t.Helper()
	return startWith(t, text, manual, labtest.Agent(t))
}

// startWith is start with another command of the agents.
func startWith(t *testing.T, text string, manual bool, agent []string) *lab.Lab {
	t.Helper()
	labtest.Require(t)
	top, err := topology.Parse(text)
	must(t, err)
	l := lab.New(top, lab.Options{Agent: agent, Dir: t.TempDir(), Manual: manual})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, l.Start(ctx))
	t.Cleanup(func() {
		if t.Failed() {
			for _, n := range l.Routers() {
				b, _ := os.ReadFile(n.LogPath())
				t.Logf("log of %s:\n%s", n.Name, b[max(0, len(b)-3000):])
			}
		}
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
	})
	if !manual {
		ready(t, l)
	}
	return l
}

// ready waits until a knows all relays and the exit.
func ready(t *testing.T, l *lab.Lab) {
	t.Helper()
	client := control.NewClient(l.Node("a").Socket())
	await(t, "a to know three relays and an exit", func() bool {
		s, err := client.Onion(t.Context())
		return err == nil && s.Relays >= 3 && s.Exits >= 1
	})
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	end := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(end) {
			t.Fatal("waited in vain for " + what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// site serves a page at port 80 of a router's mesh address.
func site(t *testing.T, n *lab.Node) (name string) {
	t.Helper()
	addr, err := n.Address()
	must(t, err)
	id, err := n.ID()
	must(t, err)
	var l net.Listener
	must(t, n.Namespace().Do(func() (err error) {
		l, err = net.Listen("tcp6", netip.AddrPortFrom(addr, 80).String())
		return err
	}))
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n, err := strconv.Atoi(r.URL.Path[1:]); err == nil { // so many bytes
			w.Write(make([]byte, n))
			return
		}
		fmt.Fprint(w, "<!doctype html><title>Cheese</title><h1>Fresh cheese</h1>")
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return id.String() + ".gnet.alt"
}

// run runs a program in a node and returns what it printed, failed or not.
func run(t *testing.T, n *lab.Node, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := n.Exec(ctx, name, args...)
	if err != nil {
		return strings.TrimSpace(string(out)) + " " + err.Error()
	}
	return strings.TrimSpace(string(out))
}

func curl(t *testing.T, n *lab.Node, args ...string) string {
	t.Helper()
	return run(t, n, labtest.RequireProgram(t, "curl"), append([]string{"-s", "-m", "20"}, args...)...)
}

// reconfigure changes the configuration of a router and has it read again.
func reconfigure(t *testing.T, n *lab.Node, change func(text string) string) {
	t.Helper()
	text, err := os.ReadFile(n.ConfigPath())
	must(t, err)
	must(t, os.WriteFile(n.ConfigPath(), []byte(change(string(text))), 0o600))
	if _, err = control.NewClient(n.Socket()).Reload(t.Context()); err != nil {
		n.Quit()
		b, _ := os.ReadFile(n.LogPath())
		_, dump, _ := strings.Cut(string(b), "SIGQUIT")
		for _, stack := range strings.Split(dump, "\n\n") {
			if !strings.Contains(stack, "[IO wait") && !strings.Contains(stack, "[select") {
				t.Log(stack)
			}
		}
		t.Fatal(err)
	}
}

// setLAN gives the LAN of a router other options.
func setLAN(t *testing.T, n *lab.Node, options ...string) {
	t.Helper()
	reconfigure(t, n, func(text string) string {
		text, _, _ = strings.Cut(text, "config lan ")
		text += "config lan 'lan'\n\tlist interface 'lan'\n"
		for _, o := range options {
			key, value, _ := strings.Cut(o, " ")
			kind := "option"
			if key == "client" {
				kind = "list"
			}
			text += fmt.Sprintf("\t%s %s '%s'\n", kind, key, value)
		}
		return text
	})
}

func status(t *testing.T, n *lab.Node) control.LANStatus {
	t.Helper()
	s, err := control.NewClient(n.Socket()).LAN(t.Context())
	must(t, err)
	return s
}

func TestNamesBehindDnsmasq(t *testing.T) {
	dnsmasq := labtest.RequireProgram(t, "dnsmasq")
	l := start(t, street, false)
	phone, a := l.Node("phone"), l.Node("a")
	name := site(t, l.Node("c"))
	conf := filepath.Join(l.Dir, "dnsmasq.conf")
	must(t, os.WriteFile(conf, []byte("no-resolv\nno-hosts\nbind-interfaces\nlisten-address=10.77.0.1\nserver=203.0.113.53\npid-file=\nuser=root\n"+
		"server=/gnet.alt/127.0.0.1#18320\nstop-dns-rebind\nrebind-domain-ok=/gnet.alt/\nrebind-domain-ok=/example/\n"), 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		a.Exec(ctx, dnsmasq, "-k", "-C", conf)
	}()
	defer func() {
		cancel()
		<-over
	}()
	await(t, "the name of the site", func() bool { return strings.Contains(curl(t, phone, "http://"+name+"/"), "Fresh cheese") })
	if got := curl(t, phone, "-6", "http://www."+name+"/"); !strings.Contains(got, "Fresh cheese") {
		t.Error("over IPv6: " + got)
	}
	// The rest is not touched: it leaves by the router's own uplink.
	if got := curl(t, phone, "http://www.example/ip"); got != "198.51.100.6" {
		t.Error("another site: " + got)
	}
	if got := curl(t, phone, "-o", "/dev/null", "-w", "%{http_code}", "http://nope.gnet.alt/"); !strings.HasPrefix(got, "000") {
		t.Error("an unknown name: " + got)
	}
	// An address that is nobody's: told so over HTTP, reset elsewhere.
	if got := curl(t, phone, "-w", "%{http_code}", "http://10.192.7.7/"); !strings.Contains(got, "no such service") || !strings.HasSuffix(got, "404") {
		t.Error("a page that says why: " + got)
	}
	if got := curl(t, phone, "https://10.192.7.7/"); !strings.Contains(got, "status 35") && !strings.Contains(got, "status 7") {
		t.Error("TLS to nowhere: " + got)
	}
	// Our own ports are for what was redirected.
	if got := curl(t, phone, "-m", "1", "http://10.77.0.1:18321/"); !strings.Contains(got, "28") {
		t.Error("the proxy's own port answers: " + got)
	}
	s := status(t, a)
	if s.Names < 2 || s.Blocked["own_port"] == 0 || s.Counters["lan_unknown_address_total"] < 2 || s.Error != "" {
		t.Errorf("%+v", s)
	}
}

func TestNamesStayOverRestarts(t *testing.T) {
	l := start(t, street+"set a lan.dns 1\n", false)
	phone, a := l.Node("phone"), l.Node("a")
	name := site(t, l.Node("c"))
	await(t, "the site", func() bool { return strings.Contains(curl(t, phone, "http://"+name+"/"), "Fresh cheese") })
	dig := labtest.RequireProgram(t, "dig")
	address := run(t, phone, dig, "+short", name)
	if !netip.MustParsePrefix("10.192.0.0/10").Contains(netip.MustParseAddr(address)) {
		t.Fatal(address)
	}
	if got := run(t, phone, dig, "+short", "-x", address); got != name+"." {
		t.Errorf("%s is %s", address, got)
	}
	must(t, a.Restart()) // ends the agent in order first
	ready(t, l)
	// Nobody asks for the name again: the client knows the address.
	await(t, "the address to lead there again", func() bool { return strings.Contains(curl(t, phone, "http://"+address+"/"), "Fresh cheese") })
}

func TestModes(t *testing.T) {
	l := start(t, street+"set a lan.mode all\n", false)
	phone, a := l.Node("phone"), l.Node("a")
	name := site(t, l.Node("c"))
	await(t, "the internet through the exit", func() bool { return curl(t, phone, "http://www.example/ip") == "198.51.100.2" })
	if got := curl(t, phone, "http://203.0.113.80/ip"); got != "198.51.100.2" {
		t.Error("by address: " + got)
	}
	if got := curl(t, phone, "http://"+name+"/"); !strings.Contains(got, "Fresh cheese") {
		t.Error("a site inside: " + got)
	}
	if got := curl(t, phone, "-w", "%{http_code}", "http://192.168.9.9/"); !strings.HasSuffix(got, "403") {
		t.Error("a private address: " + got)
	}
	socat, dig := labtest.RequireProgram(t, "socat"), labtest.RequireProgram(t, "dig")
	echo := func() string {
		return run(t, phone, "sh", "-c", "echo x | timeout 4 "+socat+" -t2 - UDP:203.0.113.80:7")
	}
	if got := echo(); !strings.Contains(got, "refused") {
		t.Error("UDP is rejected at once: " + got)
	}
	if got := run(t, phone, dig, "+short", "+time=10", "@203.0.113.53", "www.example"); got != "203.0.113.80" {
		t.Error("DNS of another resolver: " + got)
	}
	if got := run(t, phone, dig, "+short", "+time=10", "@203.0.113.53", "TXT", "www.example"); got != `"fresh cheese"` {
		t.Error("text of a name: " + got)
	}
	if got := run(t, phone, dig, "+noall", "+comments", "+time=10", "@203.0.113.53", "HTTPS", "www.example"); !strings.Contains(got, "NOERROR") {
		t.Error("a name without HTTPS records: " + got)
	}
	// The zone does not leave, whatever the resolver.
	if got := run(t, phone, dig, "+short", "@203.0.113.53", name); !strings.HasPrefix(got, "10.") {
		t.Error(got)
	}

	setLAN(t, a, "mode all", "udp 1")
	await(t, "datagrams through the exit", func() bool { return strings.HasPrefix(echo(), "198.51.100.2:") })
	if got := curl(t, phone, "http://203.0.113.80/ip"); got != "198.51.100.2" {
		t.Error("after a reload: " + got)
	}
	// Over IPv6 names have addresses of ours, and the exit chooses how to get there.
	six := run(t, phone, dig, "+short", "+time=10", "@2001:db8:ffff::53", "AAAA", "www.example")
	if !netip.MustParsePrefix("fd67:6e65:7400::/64").Contains(netip.MustParseAddr(six)) {
		t.Error("a name for a client with IPv6: " + six)
	}
	if got := curl(t, phone, "-6", "--resolve", "www.example:80:["+six+"]", "http://www.example/ip"); got != "198.51.100.2" {
		t.Error("a page over IPv6: " + got)
	}
	await(t, "datagrams over IPv6", func() bool {
		got := run(t, phone, "sh", "-c", "echo x | timeout 4 "+socat+" -t2 - UDP6:["+six+"]:7")
		return strings.HasPrefix(got, "198.51.100.2:") || strings.HasPrefix(got, "[2001:db8:0:1:")
	})
	// Who pretends to be somebody else is not heard.
	run(t, phone, "ip", "addr", "add", "203.0.113.200/32", "dev", "eth0")
	if got := curl(t, phone, "-m", "1", "--interface", "203.0.113.200", "http://203.0.113.80/ip"); !strings.Contains(got, "28") || status(t, a).Blocked["strange"] == 0 {
		t.Errorf("from an address of elsewhere: %s, %v", got, status(t, a).Blocked)
	}

	// The phone has a mode of its own, by address.
	setLAN(t, a, "mode all", "client 10.77.0.10=off")
	if got := curl(t, phone, "http://203.0.113.80/ip"); got != "198.51.100.6" {
		t.Error("a client in mode off: " + got)
	}
	mac := run(t, phone, "cat", "/sys/class/net/eth0/address")
	setLAN(t, a, "mode off", "client "+mac+"=block")
	if got := curl(t, phone, "-m", "1", "http://203.0.113.80/ip"); !strings.Contains(got, "28") {
		t.Error("a blocked client: " + got)
	}
	setLAN(t, a, "mode off", "client "+mac+"=all")
	await(t, "a client in mode all", func() bool { return curl(t, phone, "http://203.0.113.80/ip") == "198.51.100.2" })

	// lan off opens, a reload closes.
	setLAN(t, a, "mode all")
	agent := labtest.Agent(t)[0]
	if got := run(t, a, agent, "lan", "off", "--config", a.ConfigPath()); !strings.Contains(got, "leaves this router as it is") {
		t.Error(got)
	}
	if got := curl(t, phone, "http://203.0.113.80/ip"); got != "198.51.100.6" || !status(t, a).Off {
		t.Errorf("after lan off: %s, %+v", got, status(t, a))
	}
	setLAN(t, a, "mode all")
	await(t, "mode all again", func() bool { return curl(t, phone, "http://203.0.113.80/ip") == "198.51.100.2" })
}

// A device has so much a second, over however many connections.
func TestClientRate(t *testing.T) {
	l := start(t, street+"set a lan.dns 1\nset a lan.client_rate 2\n", false)
	phone := l.Node("phone")
	name := site(t, l.Node("c"))
	await(t, "the site", func() bool { return strings.Contains(curl(t, phone, "http://"+name+"/"), "Fresh cheese") })
	began := time.Now()
	// 2 Mbit/s are 250 kB, a quarter of that may come at once.
	out := curl(t, phone, "-Z", "--parallel-immediate", "-w", "%{size_download} ", "-o", "/dev/null", "http://"+name+"/200000", "-o", "/dev/null", "http://"+name+"/200000")
	if out != "200000 200000" {
		t.Fatal(out)
	}
	if took, least := time.Since(began), (400-63)*time.Second/250; took < least {
		t.Errorf("400 kB came in %v, at 2 Mbit/s they take %v", took, least)
	}
}

func TestMeshAddressesThroughTheRouter(t *testing.T) {
	l := start(t, street+"set a lan.mode all\n", false)
	phone, a, c := l.Node("phone"), l.Node("a"), l.Node("c")
	site(t, c)
	addr, err := c.Address()
	must(t, err)
	url := "http://[" + addr.String() + "]/"
	ping := func() string { return run(t, phone, "ping", "-c1", "-W2", addr.String()) }
	if got := ping(); !strings.Contains(got, "100% packet loss") {
		t.Error("off by default: " + got)
	}
	setLAN(t, a, "mode all", "mesh 1")
	await(t, "an answer from the mesh", func() bool { return strings.Contains(ping(), " 0% packet loss") })
	if got := curl(t, phone, url); !strings.Contains(got, "Fresh cheese") {
		t.Error(got)
	}
	setLAN(t, a, "mode names")
	if got := ping(); !strings.Contains(got, "100% packet loss") {
		t.Error("off again: " + got)
	}
}
