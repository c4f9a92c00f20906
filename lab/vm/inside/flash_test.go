package inside

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"globalnet/mesh/kernel"
)

// TestFlash runs an agent whose flash is full, and one whose flash is read-only.
// They must work, say once what is not kept, and end as they should.
func TestFlash(t *testing.T) {
	require(t)
	for _, state := range []string{"full", "read-only"} {
		t.Run(state, func(t *testing.T) {
			dir, seal := flash(t, state)
			radios := open(t, 2)
			agents := settle(t, kernel.RadioMesh, radios, func(int) []string { return nil })
			a, err := NewAgent(radios[0], dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { a.endTest(t, 0) })
			agents[0] = a
			seal()
			begin := time.Now()
			start(t, agents...)
			reach(t, begin, agents[0], agents[1])
			stop(t, agents)
			said := map[string]int{}
			for _, l := range regexp.MustCompile(`state is not kept.* state="?([a-z ]+)`).FindAllStringSubmatch(agents[0].Log(), -1) {
				said[l[1]]++
			}
			if len(said) == 0 {
				t.Errorf("nothing was said:\n%s", agents[0].Log())
			}
			for what, times := range said {
				if times != 1 {
					t.Errorf("%s: said %d times", what, times)
				}
			}
		})
	}
}

// flash makes a folder with a file system of its own, which seal has take nothing
// more. It must be there before the radios: a namespace sees what is mounted then.
func flash(t *testing.T, state string) (dir string, seal func()) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir, func() {
		t.Helper()
		if state == "read-only" {
			if err := unix.Mount("none", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
			return
		}
		f, err := os.Create(filepath.Join(dir, "filler"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for block := make([]byte, 4096); err == nil; {
			_, err = f.Write(block)
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
	}
}
