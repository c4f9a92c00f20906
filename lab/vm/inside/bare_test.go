package inside

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"globalnet/mesh/kernel"
	"globalnet/mesh/peers"
)

// TestBare is five routers that have no clock and no way to the internet: it is 1970
// before anything starts, there is no default route and no resolver. They make their
// keys, link, route, publish a hidden service, and a phone in the LAN of n0 opens it
// by its name. In a machine of TestNoClock all this happens again on the same flash,
// after the power was cut, in a year that has gone back to 1970: with the same
// identities, the same service, and state files out of the future.
//
//	phone --- n0 ~ ~ n1 ~ ~ n2          n3, n4 beside n1
func TestBare(t *testing.T) {
	require(t)
	flash := os.Getenv("INSIDE_STATE")
	if flash == "" {
		flash = t.TempDir()
		setClock(t, time.Minute)
	}
	if year := time.Now().UTC().Year(); year != 1970 {
		t.Fatalf("it is %d", year)
	}
	radios := open(t, 5)
	for i, mask := range []uint64{0b01, 0b11, 0b10, 0b11, 0b11} {
		if err := radios[i].SetGroups(mask); err != nil {
			t.Fatal(err)
		}
	}
	phone, err := NewPhone(radios[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { phone.Close() })
	options := map[int][]string{
		0: {"config lan 'lan'", "list interface '" + lanIfname + "'", "option dns '1'"},
		2: website(t),
	}
	agents := settleIn(t, kernel.RadioMesh, radios, flash, func(i int) []string { return options[i] })
	begin := time.Now()
	start(t, agents...)
	for _, a := range agents[1:] {
		reach(t, begin, agents[0], a)
	}
	address := visit(t, agents[0], agents[2])
	measured(t, "in 1970, start of five agents to the answer of a hidden service", time.Since(begin).Seconds(), "s")
	body, addr, err := phone.Get(t.Context(), address)
	if err != nil || body != hello {
		t.Errorf("from the LAN, by %v: %q, %v", addr, body, err)
	}
	// What was there before is there again.
	now := fmt.Sprint(address, agents[0].Address, agents[1].Address, agents[2].Address, agents[3].Address, agents[4].Address)
	note := filepath.Join(flash, "note")
	if before, err := os.ReadFile(note); err == nil && string(before) != now {
		t.Errorf("before the power was cut: %s; now: %s", before, now)
	}
	if err := peers.WriteFile(note, []byte(now)); err != nil { // the power is cut soon
		t.Fatal(err)
	}

	// One router alone starts again, late in the day, and then early: its neighbours
	// have seen it later than it thinks it is.
	for _, day := range []struct {
		what string
		at   time.Duration
	}{{"ahead", 12 * time.Hour}, {"back", time.Second}} {
		agents[0].Kill()
		if err := agents[0].Cleanup(); err != nil {
			t.Fatal(err)
		}
		setClock(t, day.at)
		begin = time.Now()
		start(t, agents[0])
		reach(t, begin, agents[0], agents[1])
		measured(t, "in 1970, the clock went "+day.what+": start of a router to its first ping", time.Since(begin).Seconds(), "s")
		visit(t, agents[0], agents[2])
		measured(t, "in 1970, the clock went "+day.what+": start of a router to the answer of a hidden service", time.Since(begin).Seconds(), "s")
	}
	stop(t, agents)
}

// setClock sets the machine's clock to a time in 1970, and back in the end: to so long
// after the machine's start, since the kernel takes no time at which it did not run yet.
func setClock(t *testing.T, after time.Duration) {
	t.Helper()
	before := time.Now()
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &up); err != nil {
		t.Fatal(err)
	}
	now := unix.NsecToTimespec(up.Nano() + int64(after))
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		back := unix.NsecToTimespec(before.UnixNano() + int64(time.Since(before)))
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &back); err != nil {
			t.Error(err)
		}
	})
}
