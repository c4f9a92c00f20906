package inside

import (
	"fmt"
	"os"
	"testing"

	"globalnet/lab/netns"
)

// roleEnv makes the test program a helper: in a radio's namespace, or of another machine.
const roleEnv = "INSIDE_ROLE"

func TestMain(m *testing.M) {
	netns.Hook()
	role := map[string]func() error{
		"stations":   printStations,
		"neighbours": func() error { return Neighbours("eth0", 4) },
	}[os.Getenv(roleEnv)]
	if role != nil {
		if err := role(); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// require skips a test anywhere but in the machine, whose script sets INSIDE_VM.
func require(t *testing.T) {
	t.Helper()
	if os.Getenv("INSIDE_VM") == "" {
		t.Skip("runs in a virtual machine: make vm-test")
	}
}

// open opens n radios for a test and joins them to the cell.
func open(t *testing.T, n int) []*Radio {
	t.Helper()
	radios, err := OpenRadios(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { CloseRadios(radios) })
	return radios
}
