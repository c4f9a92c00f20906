package inside

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"globalnet/lab"
	"globalnet/mesh"
	"globalnet/mesh/kernel"
)

// printStations is a helper in the namespace of a radio: it prints what
// mesh/kernel tells of the radio and its stations, until it is killed.
func printStations() error {
	k, err := kernel.New(kernel.Config{})
	if err != nil {
		return err
	}
	ifname := os.Args[1]
	list, err := k.Interfaces(context.Background())
	if err != nil {
		return err
	}
	for _, i := range list {
		if i.Name == ifname {
			fmt.Println("radio", i.Radio)
		}
	}
	for c := range k.Changes() {
		switch c.Kind {
		case mesh.StationJoined:
			fmt.Println("joined", c.Ifname)
		case mesh.StationLeft:
			fmt.Println("left", c.Ifname)
			continue
		default:
			continue
		}
		// What is known of it comes with the first frames.
		for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			stations, err := k.Stations(context.Background(), ifname)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(stations, func(s kernel.Station) bool { return s.Signal != 0 })
			if i >= 0 {
				s := stations[i]
				fmt.Printf("station %x signal %d rate %d\n", s.MAC, s.Signal, s.TxRate)
				break
			}
		}
	}
	return nil
}

// TestStations: a radio comes near, and the other must hear of it from nl80211 at
// once, and know its signal.
func TestStations(t *testing.T) {
	require(t)
	radios := open(t, 2)
	for i, r := range radios {
		if err := r.SetGroups(1 << i); err != nil { // apart
			t.Fatal(err)
		}
		if err := r.Join(kernel.RadioAdHoc); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/proc/self/exe", radios[0].Ifname)
	cmd.Env = append(os.Environ(), roleEnv+"=stations")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := radios[0].Start(cmd); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	expect := func(prefix string) string {
		t.Helper()
		timeout := time.After(30 * time.Second)
		for {
			select {
			case l, ok := <-lines:
				if !ok {
					t.Fatalf("the helper ended before %q", prefix)
				}
				if strings.HasPrefix(l, "error") {
					t.Fatal(l)
				}
				if strings.HasPrefix(l, prefix) {
					return l
				}
			case <-timeout:
				t.Fatalf("no line %q", prefix)
			}
		}
	}
	expect("radio true")
	for _, r := range radios {
		if err := r.SetGroups(1); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	// Frames make stations: beacons of the cell, or these.
	p, err := lab.NewPinger(radios[1].Namespace)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	go func() {
		_, _ = p.Until(ctx, netip.MustParseAddr("ff02::1").WithZone(radios[1].Ifname), 100*time.Millisecond)
	}()
	expect("joined " + radios[0].Ifname)
	measured(t, "radio in reach to the kernel's word of a new station", time.Since(begin).Seconds(), "s")
	t.Log(expect("station 02"))
}
