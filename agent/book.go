package agent

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"globalnet/agent/config"
	"globalnet/mesh"
	"globalnet/mesh/peers"
)

// bookKeeper feeds the peer book from outside: configured peers, whose names it
// looks up, and the state file. The book itself belongs to the node's loop.
type bookKeeper struct {
	path string
	file stateFile
	log  *slog.Logger
	wake chan struct{}
}

const (
	resolveInterval = 5 * time.Minute // how often names of configured peers are looked up again
	resolveTimeout  = 10 * time.Second
)

func newBookKeeper(path string, log *slog.Logger) *bookKeeper {
	return &bookKeeper{path: path, file: stateFile{path: path, what: "known peers", log: log}, log: log, wake: make(chan struct{}, 1)}
}

// load reads what an earlier run knew. A damaged file is no reason not to start.
func (b *bookKeeper) load(book *peers.Book) {
	skipped, err := book.LoadFile(b.path, time.Now())
	if err != nil {
		b.log.Warn("known peers are not read", "err", err)
	}
	if skipped > 0 {
		b.log.Warn("lines of the state file skipped", "path", b.path, "lines", skipped)
	}
}

// refresh looks the configured peers up now: the configuration has changed.
func (b *bookKeeper) refresh() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run keeps the book until ctx ends, and saves it then.
func (b *bookKeeper) run(ctx context.Context, node *mesh.Node, configured func() []config.Peer) error {
	timer := time.NewTicker(resolveInterval)
	defer timer.Stop()
	for {
		node.ConfigurePeers(ctx, b.resolve(ctx, configured()))
		b.save(ctx, node)
		select {
		case <-ctx.Done():
			return nil
		case <-b.wake:
		case <-timer.C:
		}
	}
}

// save writes the state file, if it is worth a write.
func (b *bookKeeper) save(ctx context.Context, node *mesh.Node) {
	text, err := node.PeersToSave(ctx)
	if err != nil || text == nil {
		return
	}
	b.file.write(text)
}

// resolve looks the names of the peers up, all at the same time. A peer whose
// names are unknown now stays without addresses until the next time.
func (b *bookKeeper) resolve(ctx context.Context, list []config.Peer) []peers.Entry {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	entries := make([]peers.Entry, len(list))
	var group sync.WaitGroup
	for i, p := range list {
		entries[i].Node = p.Node
		group.Go(func() {
			for _, a := range p.Addresses {
				entries[i].Addrs = append(entries[i].Addrs, b.lookup(ctx, a)...)
			}
		})
	}
	group.Wait()
	return entries
}

func (b *bookKeeper) lookup(ctx context.Context, a config.Address) []netip.AddrPort {
	if ap, ok := a.AddrPort(); ok {
		return []netip.AddrPort{ap}
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", a.Host)
	if err != nil {
		b.log.Warn("looking up a peer", "host", a.Host, "err", err)
		return nil
	}
	var list []netip.AddrPort
	for _, ip := range ips {
		list = append(list, netip.AddrPortFrom(ip.Unmap(), a.Port))
	}
	return list
}
