package agent

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"globalnet/agent/config"
	"globalnet/agent/servicetable"
	"globalnet/internal/identity"
	"globalnet/mesh/peers"
)

// TestIdleDay lives through a day with four neighbours in which nothing happens, and
// counts what is written to flash: the budget is four writes and 64 KiB. A write is a
// file with another inode, each is replaced by rename. The clock is a simulated one.
func TestIdleDay(t *testing.T) {
	dir := t.TempDir()
	id, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.StateDir = dir
	log := slog.New(slog.DiscardHandler)
	paths := []string{filepath.Join(dir, "peers.state"), filepath.Join(dir, "records.state"), filepath.Join(dir, "onion.state")}
	writes, octets := 0, int64(0)
	inodes := make(map[string]uint64)
	look := func() {
		for _, path := range paths {
			info, err := os.Stat(path)
			if err != nil {
				continue
			}
			if now := info.Sys().(*syscall.Stat_t).Ino; now != inodes[path] {
				inodes[path] = now
				writes++
				octets += info.Size()
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		book := peers.New(id.NodeID(), rand.New(rand.NewPCG(1, 2)))
		keeper := newBookKeeper(paths[0], log)
		var neighbours []identity.NodeID
		for n := range byte(4) {
			node := identity.NodeID{n + 1}
			neighbours = append(neighbours, node)
			addr := netip.MustParseAddrPort(fmt.Sprintf("198.51.100.%d:18246", n+1))
			book.Add(time.Now(), node, peers.Entry{Node: node, Addrs: []netip.AddrPort{addr}})
		}
		shelf := newShelf(id, paths[1], log)
		record := shelf.item("", []byte("what the node says of itself"), false)
		shelf.put(record)
		o, err := newOverlay(overlayOptions{id: id, config: c, statePath: paths[2], log: log,
			publish: func([]byte) {}, table: servicetable.New(nil, log),
			find: func(context.Context, identity.NodeID) ([]byte, error) { return nil, os.ErrNotExist }})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- o.keepState(ctx) }()
		day := func() {
			for end := time.Now().Add(24 * time.Hour); time.Now().Before(end); time.Sleep(resolveInterval) {
				now := time.Now()
				for _, n := range neighbours {
					book.Succeeded(now, n)
				}
				if book.NeedsSaving(now) {
					keeper.file.write(book.Save(now))
				}
				shelf.signed(keyOf(record.Publication), uint64(now.Unix())) // published again
				shelf.save(false)
				synctest.Wait()
				look()
			}
		}
		day() // the first, with all there is to learn
		t.Logf("the first day: %d writes, %d bytes", writes, octets)
		writes, octets = 0, 0
		day()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Logf("MEASURED an idle day: %d writes, %d bytes", writes, octets)
	if writes == 0 || writes > 4 || octets > 64<<10 {
		t.Errorf("%d writes of %d bytes in an idle day; at most 4 and 64 KiB", writes, octets)
	}
}
