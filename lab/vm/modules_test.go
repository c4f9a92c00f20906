package vm

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const modulesDep = `kernel/net/a.ko: kernel/lib/b-x.ko kernel/lib/c.ko
kernel/lib/b-x.ko: kernel/lib/c.ko
kernel/lib/c.ko:
kernel/lib/d.ko.xz: kernel/lib/missing.ko
kernel/drivers/sim.ko: kernel/lib/c.ko kernel/lib/inside.ko
`

func TestOrderModules(t *testing.T) {
	for name, test := range map[string]struct {
		want  []string
		order string
		err   string
	}{
		"dependencies first":  {[]string{"a"}, "c b-x a", ""},
		"once":                {[]string{"a", "c", "b_x", "a"}, "c b-x a", ""},
		"parameters":          {[]string{"sim radios=2 x=1"}, "c sim(radios=2 x=1)", ""},
		"built in":            {[]string{"inside"}, "", ""},
		"unknown":             {[]string{"zzz"}, "", "no module zzz"},
		"unknown dependency":  {[]string{"d"}, "", "d needs it: the kernel has no module missing"},
		"dash and underscore": {[]string{"b-x"}, "c b-x", ""},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := orderModules("/m", modulesDep, "kernel/lib/inside.ko\n", test.want)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, %q expected", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, m := range list {
				s := strings.TrimSuffix(filepath.Base(m.path), ".ko")
				if m.parameters != "" {
					s += "(" + m.parameters + ")"
				}
				got = append(got, s)
			}
			if strings.Join(got, " ") != test.order {
				t.Errorf("order %v, %s expected", got, test.order)
			}
		})
	}
}

func TestDependencies(t *testing.T) {
	sh, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Skip(err)
	}
	libs, err := dependencies(sh)
	if err != nil {
		t.Skip(err) // another libc, another place
	}
	found := false
	for _, l := range libs {
		if _, err := os.Stat(l); err != nil {
			t.Error(err)
		}
		found = found || strings.HasPrefix(filepath.Base(l), "libc.")
	}
	if !found {
		t.Errorf("the shell's libraries are %v, libc is missing", libs)
	}
	if _, err := dependencies("/etc/passwd"); err == nil {
		t.Error("a text file was taken for a program")
	}
}

// TestRead feeds what a machine prints in small parts.
func TestRead(t *testing.T) {
	for name, test := range map[string]struct {
		in, log string
		rc      int
		done    bool
	}{
		"status":            {"booting\r\nhello\r\n\r\nVMRC=12\r\nmore", "booting\nhello\n\n", 12, true},
		"panic":             {"booting\nKernel panic\n", "booting\nKernel panic\n", 0, false},
		"not the status":    {"a VMRC=3\nVMRC=x\n", "a VMRC=3\nVMRC=x\n", 0, false},
		"cut in the middle": {"VMRC=1", "VMRC=1", 0, false},
	} {
		for _, size := range []int{1, 3, 4096} {
			log, rc, done := read(&parts{test.in, size}, nil)
			if log != test.log || rc != test.rc || done != test.done {
				t.Errorf("%s in parts of %d: %q, %d, %v", name, size, log, rc, done)
			}
		}
	}
}

type parts struct {
	rest string
	size int
}

func (p *parts) Read(b []byte) (int, error) {
	if p.rest == "" {
		return 0, io.EOF
	}
	n := copy(b[:min(p.size, len(b))], p.rest)
	p.rest = p.rest[n:]
	return n, nil
}
