package vm

import (
	"bytes"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// readCPIO reads an archive by the text of the format, not by the writer.
func readCPIO(t *testing.T, b []byte) (list []string) {
	t.Helper()
	for at := 0; ; {
		if len(b)-at < 110 || string(b[at:at+6]) != "070701" {
			t.Fatalf("no header at %d", at)
		}
		field := func(i int) int {
			n, err := strconv.ParseUint(string(b[at+6+8*i:at+14+8*i]), 16, 32)
			if err != nil {
				t.Fatalf("header at %d: %v", at, err)
			}
			return int(n)
		}
		name := string(b[at+110 : at+110+field(11)-1])
		if name == "TRAILER!!!" {
			return list
		}
		data := (at + 110 + field(11) + 3) &^ 3
		list = append(list, fmt.Sprintf("%s %o %d.%d %q", name, field(1), field(9), field(10), b[data:data+field(6)]))
		at = (data + field(6) + 3) &^ 3
	}
}

func archive(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	c := newCPIOWriter(&b)
	for _, err := range []error{
		c.dir("/dev"),
		c.char("/dev/console", 5, 1),
		c.text("/a/b/file", 0o755, "hello"),
		c.text("a/empty", 0o600, ""),
		c.symlink("/a/link", "b/file"),
		c.dir("/a/b/"),
		c.close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestCPIO(t *testing.T) {
	b := archive(t)
	want := []string{
		`dev 40755 0.0 ""`, `dev/console 20600 5.1 ""`,
		`a 40755 0.0 ""`, `a/b 40755 0.0 ""`, `a/b/file 100755 0.0 "hello"`,
		`a/empty 100600 0.0 ""`, `a/link 120777 0.0 "b/file"`,
	}
	if got := readCPIO(t, b); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("entries\n%s\nexpected\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(b)%512 != 0 {
		t.Errorf("%d bytes: another archive cannot follow", len(b))
	}
	if !bytes.Equal(b, archive(t)) {
		t.Error("two archives of the same differ")
	}
}

// TestCPIOByOthers has the archive read by cpio.
func TestCPIOByOthers(t *testing.T) {
	path, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("cpio is not installed")
	}
	cmd := exec.Command(path, "-it", "--quiet")
	cmd.Stdin = bytes.NewReader(archive(t))
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "dev\ndev/console\na\na/b\na/b/file\na/empty\na/link\n" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestCPIORefuses(t *testing.T) {
	c := newCPIOWriter(&bytes.Buffer{})
	if err := c.text("/a", 0o644, "x"); err != nil {
		t.Fatal(err)
	}
	if err := c.text("a", 0o644, "x"); err == nil {
		t.Error("a second entry of the same name was accepted")
	}
	if err := c.file("/b", 0o644, 5, strings.NewReader("four")); err == nil {
		t.Error("a file shorter than its size was accepted")
	}
	if err := c.file("/c", 0o644, 1<<32, strings.NewReader("")); err == nil {
		t.Error("a file of 4 GiB was accepted")
	}
}
