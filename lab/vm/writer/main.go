// The writer runs in a virtual machine that is going to be killed. It says what it
// finds on the flash, and then writes without end, as the agent and its commands do:
// new identities, a state file, the configuration. What it has written it says too:
// from then on it has to be there.
//
//	FOUND main NODE · FOUND state N · FOUND config N · FOUND identity N NODE ·
//	FOUND leftovers N · WRITING · DONE state N …
//
// An argument limits how many of each it writes. It owns the folder alone.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"globalnet/agent/config"
	"globalnet/agent/edit"
	"globalnet/internal/identity"
	"globalnet/mesh/peers"
)

// kept is how many identities are left on the flash.
const kept = 20

func main() {
	dir := os.Args[1]
	most := 1 << 30
	if len(os.Args) > 2 {
		most, _ = strconv.Atoi(os.Args[2])
	}
	n, err := find(dir)
	if err == nil {
		fmt.Println("WRITING")
		err = write(dir, n, most)
	}
	if err != nil {
		fmt.Println("ERROR", err)
		os.Exit(1)
	}
}

func mainKey(dir string) string  { return filepath.Join(dir, "identity.key") }
func stateIn(dir string) string  { return filepath.Join(dir, "peers.state") }
func configIn(dir string) string { return filepath.Join(dir, "globalnet.uci") }
func keyIn(dir string, n int) string {
	return filepath.Join(dir, fmt.Sprintf("id-%d.key", n))
}

// state is long enough for a torn one to show.
func state(n int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "state %d\n", n), 500)
}

// find says what is there, and returns the number of the last thing written.
func find(dir string) (last int, err error) {
	i, err := identity.Load(mainKey(dir))
	switch {
	case err == nil:
		fmt.Println("FOUND main", i.NodeID())
	case errors.Is(err, fs.ErrNotExist):
		fmt.Println("FOUND main none")
	default:
		fmt.Println("FOUND main damaged:", err)
	}
	text, err := os.ReadFile(stateIn(dir))
	n := 0
	_, _ = fmt.Sscanf(string(text), "state %d\n", &n)
	last = max(last, n)
	if err == nil && bytes.Equal(text, state(n)) || errors.Is(err, fs.ErrNotExist) {
		fmt.Println("FOUND state", n)
	} else {
		fmt.Printf("FOUND state damaged: %v, %d bytes\n", err, len(text))
	}
	n = 0
	_, err = os.Stat(configIn(dir))
	if !errors.Is(err, fs.ErrNotExist) {
		var c config.Config
		c, _, err = config.Load(configIn(dir))
		if err == nil {
			n, err = strconv.Atoi(strings.TrimPrefix(c.Network, "street"))
		}
		if err != nil {
			fmt.Println("FOUND config damaged:", err)
			return 0, err
		}
	}
	fmt.Println("FOUND config", n)
	last = max(last, n)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	leftovers := 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			leftovers++
		}
		if _, err := fmt.Sscanf(e.Name(), "id-%d.key", &n); err != nil {
			continue
		}
		last = max(last, n)
		i, err := identity.Load(keyIn(dir, n))
		if err != nil {
			fmt.Println("FOUND identity", n, "damaged:", err)
			continue
		}
		fmt.Println("FOUND identity", n, i.NodeID())
	}
	fmt.Println("FOUND leftovers", leftovers)
	return last, nil
}

func write(dir string, last, most int) error {
	i, err := identity.LoadOrCreate(mainKey(dir))
	if err != nil {
		return err
	}
	fmt.Println("DONE main", i.NodeID())
	if _, err := os.Stat(configIn(dir)); errors.Is(err, fs.ErrNotExist) {
		if err := peers.WriteFile(configIn(dir), []byte("config globalnet 'main'\n\toption state_dir '.'\n\toption network 'street0'\n")); err != nil {
			return err
		}
	}
	for n := last + 1; n <= last+most; n++ {
		if err := peers.WriteFile(stateIn(dir), state(n)); err != nil {
			return err
		}
		fmt.Println("DONE state", n)
		network := edit.Change{Section: "main", Option: "network", Values: []string{fmt.Sprint("street", n)}}
		if _, err := edit.Apply(configIn(dir), []edit.Change{network}, false); err != nil {
			return err
		}
		fmt.Println("DONE config", n)
		i, err := identity.Create(keyIn(dir, n))
		if err != nil {
			return err
		}
		fmt.Println("DONE identity", n, i.NodeID())
		if err := os.Remove(keyIn(dir, n-kept)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
