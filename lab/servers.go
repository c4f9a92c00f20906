package lab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"globalnet/lab/netns"
)

// ReflectPort is where the internet's servers answer a UDP datagram with the
// address it came from, as text.
const ReflectPort = 7

// maxBytes bounds what the web server sends at /bytes.
const maxBytes = 1 << 40

// startServers gives the internet its servers' addresses and starts them.
func (l *Lab) startServers(ns *netns.Namespace) error {
	if err := addServerAddresses(ns); err != nil {
		return err
	}
	web := &http.Server{Handler: webHandler(), ReadHeaderTimeout: 10 * time.Second}
	l.closers = append(l.closers, web)
	return ns.Do(func() error {
		for _, ip := range []netip.Addr{WebServer, WebServer6} {
			listener, err := net.Listen("tcp", netip.AddrPortFrom(ip, 80).String())
			if err != nil {
				return fmt.Errorf("web server of the internet: %w", err)
			}
			l.servers.Go(func() { web.Serve(listener) })
		}
		serve := func(ip netip.Addr, port uint16, answer func(query []byte, from net.Addr) []byte) error {
			conn, err := net.ListenPacket("udp", netip.AddrPortFrom(ip, port).String())
			if err != nil {
				return fmt.Errorf("server of the internet: %w", err)
			}
			l.closers = append(l.closers, conn)
			l.servers.Go(func() { serveUDP(conn, answer) })
			return nil
		}
		reflect := func(_ []byte, from net.Addr) []byte { return []byte(from.String()) }
		lookup := func(query []byte, _ net.Addr) []byte { return answerDNS(query) }
		return errors.Join(
			serve(DNSServer, 53, lookup), serve(DNSServer6, 53, lookup),
			serve(DNSServer, ReflectPort, reflect), serve(WebServer, ReflectPort, reflect),
			serve(DNSServer6, ReflectPort, reflect), serve(WebServer6, ReflectPort, reflect),
		)
	})
}

func addServerAddresses(ns *netns.Namespace) error {
	h, err := ns.Netlink()
	if err != nil {
		return err
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("loopback of %s: %w", ns.Name, err)
	}
	for _, ip := range []netip.Addr{WebServer, DNSServer, WebServer6, DNSServer6} {
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(ip.BitLen(), ip.BitLen())}, Flags: unix.IFA_F_NODAD}
		if err := h.AddrReplace(lo, addr); err != nil {
			return fmt.Errorf("address %s of %s: %w", ip, ns.Name, err)
		}
	}
	return nil
}

// webHandler is a web site: a page, the visitor's address at /ip, n bytes at /bytes?n=.
func webHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "<!doctype html><title>The lab's internet</title><p>Hello from the internet.\n")
	})
	mux.HandleFunc("GET /ip", func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintln(w, host)
	})
	mux.HandleFunc("GET /bytes", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseInt(r.FormValue("n"), 10, 64)
		if err != nil || n < 0 || n > maxBytes {
			http.Error(w, "n is a number of bytes", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		buf := make([]byte, 64<<10)
		for n > 0 {
			k, err := w.Write(buf[:min(n, int64(len(buf)))])
			if err != nil {
				return
			}
			n -= int64(k)
		}
	})
	return mux
}

func serveUDP(conn net.PacketConn, answer func([]byte, net.Addr) []byte) {
	buf := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of an earlier answer
		}
		if a := answer(buf[:n], from); a != nil {
			conn.WriteTo(a, from)
		}
	}
}

// answerDNS knows www.example and web.example, the web server; dns.example, the
// name server; no other name. It returns nothing for what is no query.
func answerDNS(query []byte) []byte {
	var p dnsmessage.Parser
	header, err := p.Start(query)
	if err != nil || header.Response {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	header.Response, header.Authoritative, header.RecursionAvailable = true, true, true
	var v4, v6 netip.Addr
	switch strings.ToLower(q.Name.String()) {
	case "www.example.", "web.example.":
		v4, v6 = WebServer, WebServer6
	case "dns.example.":
		v4, v6 = DNSServer, DNSServer6
	default:
		header.RCode = dnsmessage.RCodeNameError
	}
	b := dnsmessage.NewBuilder(nil, header)
	b.EnableCompression()
	if b.StartQuestions() != nil || b.Question(q) != nil || b.StartAnswers() != nil {
		return nil
	}
	rh := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}
	switch {
	case !v4.IsValid():
	case q.Type == dnsmessage.TypeA:
		err = b.AResource(rh, dnsmessage.AResource{A: v4.As4()})
	case q.Type == dnsmessage.TypeTXT:
		err = b.TXTResource(rh, dnsmessage.TXTResource{TXT: []string{"fresh cheese"}})
	case q.Type == dnsmessage.TypeAAAA:
		err = b.AAAAResource(rh, dnsmessage.AAAAResource{AAAA: v6.As16()})
	}
	if err != nil {
		return nil
	}
	answer, err := b.Finish()
	if err != nil {
		return nil
	}
	return answer
}
