package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"globalnet/lab"
	"globalnet/lab/topology"
)

// The page of the first router is to be had on this machine: `lab run` listens before it
// enters the sandbox, and hands the listener to the lab in it, which joins each connection
// with the router's own listener. Both have the same address, so that the page knows it.

const (
	defaultPage  = "127.0.0.1:8080"
	pagePorts    = 20 // tried one after the other
	pageConns    = 64 // at a time
	pageDialTime = 5 * time.Second
)

// listenPage listens at an address of loopback, or at a port after it that is free.
func listenPage(address string) (*os.File, netip.AddrPort, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !at.Addr().IsLoopback() {
		return nil, at, fmt.Errorf("page at %q: want an address of loopback and a port, such as %s, or none", address, defaultPage)
	}
	for range pagePorts {
		var l *net.TCPListener
		if l, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at)); err == nil {
			defer l.Close()
			at = l.Addr().(*net.TCPAddr).AddrPort()
			f, err := l.File()
			return f, at, err
		}
		at = netip.AddrPortFrom(at.Addr(), at.Port()+1)
	}
	return nil, at, fmt.Errorf("listening for the page: %w; --page names another address, or none", err)
}

// withPage adds the page of the first router to a topology, unless the page is in it.
func withPage(text string, at netip.AddrPort) (string, bool) {
	t, err := topology.Parse(text)
	if err != nil || len(t.Routers()) == 0 {
		return text, false
	}
	for _, o := range t.Options {
		if strings.HasPrefix(o.Name, "web.") {
			return text, false
		}
	}
	return strings.TrimRight(text, "\n") + fmt.Sprintf("\nset %s web.listen %s\n", t.Routers()[0], at), true
}

// servePage joins connections of the listener with a router's page until ctx ends.
func servePage(ctx context.Context, l net.Listener, n *lab.Node) error {
	address := l.Addr().String()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	room := make(chan struct{}, pageConns)
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("page of %s: %w", n.Name, err)
		}
		select {
		case room <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		all.Go(func() {
			join(ctx, conn, n, address)
			<-room
		})
	}
}

func join(ctx context.Context, conn net.Conn, n *lab.Node, address string) {
	defer conn.Close()
	var router net.Conn
	if n.Namespace().Do(func() (err error) {
		router, err = net.DialTimeout("tcp", address, pageDialTime)
		return err
	}) != nil {
		return // the agent is starting, or was ended
	}
	defer router.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close(); router.Close() })
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(router, conn)
		router.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(conn, router)
	conn.Close()
	<-done
}
