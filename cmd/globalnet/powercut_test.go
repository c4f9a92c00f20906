package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"globalnet/agent/config"
	"globalnet/internal/identity"
	"globalnet/mesh/peers"
	"globalnet/openwrt"
)

// Power cuts are replayed: strace notes what a command does to its files, and a
// model of a file system makes of that all states that a cut may leave behind.
// What was not flushed is there, half there or not there; names appear, move and
// vanish in their order, but only a flush of their folder makes that last.

// disk is the model. Names are relative to the folder that is watched.
type disk struct {
	names   map[string]*inode // as the running system sees them
	durable map[string]*inode // as they are on the medium at least
	pending []nameChange
	fds     map[string]*inode // by process and number
}

type inode struct{ data, flushed []byte }

type nameChange struct {
	name string
	to   *inode // nil: removed
}

// snapshot reads a folder, all of it flushed.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name, _ := filepath.Rel(dir, path)
			files[name] = string(text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func newDisk(files map[string]string) *disk {
	d := &disk{names: make(map[string]*inode), fds: make(map[string]*inode)}
	for name, text := range files {
		d.names[name] = &inode{[]byte(text), []byte(text)}
	}
	d.durable = maps.Clone(d.names)
	return d
}

func (d *disk) rename(name string, to *inode) {
	if to == nil {
		delete(d.names, name)
	} else {
		d.names[name] = to
	}
	d.pending = append(d.pending, nameChange{name, to})
}

// flushFolder makes the names in a folder last.
func (d *disk) flushFolder(dir string) {
	d.pending = slices.DeleteFunc(d.pending, func(c nameChange) bool {
		if filepath.Dir(c.name) != dir {
			return false
		}
		apply(d.durable, c)
		return true
	})
}

func apply(names map[string]*inode, c nameChange) {
	if c.to == nil {
		delete(names, c.name)
	} else {
		names[c.name] = c.to
	}
}

// states are the files that a cut now may leave.
func (d *disk) states() (all []map[string]string) {
	for done := range len(d.pending) + 1 {
		names := maps.Clone(d.durable)
		for _, c := range d.pending[:done] {
			apply(names, c)
		}
		for variant := range 3 {
			files := make(map[string]string)
			for name, i := range names {
				text := i.data
				if !bytes.Equal(i.data, i.flushed) {
					text = [][]byte{i.flushed, i.data[:len(i.data)/2], i.data}[variant]
				}
				files[name] = string(text)
			}
			if !slices.ContainsFunc(all, func(f map[string]string) bool { return maps.Equal(f, files) }) {
				all = append(all, files)
			}
		}
	}
	return all
}

var (
	callForm   = regexp.MustCompile(`^(\d+) +(\w+)\((.*)\) += (\d+)`)
	fdForm     = regexp.MustCompile(`^(\d+)<((?:\\x[0-9a-f]{2})*)>`)
	stringForm = regexp.MustCompile(`"((?:\\x[0-9a-f]{2})*)"`)
)

func unhex(s string) string {
	b := make([]byte, 0, len(s)/4)
	for ; len(s) >= 4; s = s[4:] {
		n, _ := strconv.ParseUint(s[2:4], 16, 8)
		b = append(b, byte(n))
	}
	return string(b)
}

// call carries out a line of strace, and reports whether it concerned the folder.
func (d *disk) call(dir, line string) bool {
	m := callForm.FindStringSubmatch(line)
	if m == nil {
		return false
	}
	name, args := m[2], m[3]
	var paths []string
	for _, s := range stringForm.FindAllStringSubmatch(args, -1) {
		paths = append(paths, unhex(s[1]))
	}
	inside := func(path string) (string, bool) {
		rel, err := filepath.Rel(dir, path)
		return rel, err == nil && filepath.IsLocal(rel)
	}
	if fd := fdForm.FindStringSubmatch(args); fd != nil && name != "openat" {
		rel, ok := inside(unhex(fd[2]))
		if !ok {
			return false
		}
		switch i := d.fds[fd[1]]; {
		case i == nil && name == "fsync":
			d.flushFolder(rel)
		case i == nil:
			return false
		case name == "write":
			n, _ := strconv.Atoi(m[4])
			i.data = append(slices.Clip(i.data), paths[0][:n]...)
		case name == "fsync":
			i.flushed = i.data
		case name == "close":
			delete(d.fds, fd[1])
			return false
		}
		return true
	}
	if len(paths) == 0 {
		return false
	}
	from, ok := inside(paths[0])
	if !ok {
		return false
	}
	switch name {
	case "openat":
		delete(d.fds, m[4])
		if !strings.Contains(args, "O_CREAT") && !strings.Contains(args, "O_TRUNC") {
			return false
		}
		if d.names[from] == nil {
			d.rename(from, new(inode))
		} else if strings.Contains(args, "O_TRUNC") {
			d.names[from].data = nil
		}
		d.fds[m[4]] = d.names[from]
	case "rename", "renameat", "renameat2", "link", "linkat":
		to, _ := inside(paths[1])
		i := d.names[from]
		d.rename(to, i)
		if strings.HasPrefix(name, "rename") {
			d.rename(from, nil)
			// Both names change in one step.
			last := d.pending[len(d.pending)-2:]
			last[0], last[1] = last[1], last[0]
		}
	case "unlink", "unlinkat":
		if d.names[from] != nil {
			d.rename(from, nil)
		}
	}
	return true
}

// TestWriter is what is traced; it does nothing by itself.
func TestWriter(t *testing.T) {
	if path := os.Getenv("POWERCUT_STATE"); path != "" {
		if err := peers.WriteFile(path, bytes.Repeat([]byte("new\n"), 500)); err != nil {
			t.Fatal(err)
		}
	}
	if args := os.Getenv("POWERCUT_ARGS"); args != "" {
		if code := run(context.Background(), strings.Split(args, "\n"), os.Stdout, os.Stderr); code != 0 {
			t.Fatalf("exit %d", code)
		}
	}
}

// cuts runs a writer in a folder, and calls check with a folder for each state that
// a cut may leave. Done tells that the command had ended before the cut.
func cuts(t *testing.T, dir, env string, check func(dir string, done bool)) {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("LAB") == "required" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	d := newDisk(snapshot(t, dir))
	log := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command(strace, "-f", "-y", "-xx", "-s", "1000000", "-o", log,
		"-e", "trace=openat,write,fsync,close,rename,renameat,renameat2,link,linkat,unlink,unlinkat",
		os.Args[0], "-test.run=^TestWriter$")
	cmd.Env = append(os.Environ(), env)
	if out, err := cmd.CombinedOutput(); err != nil {
		if strings.Contains(string(out), "PTRACE") {
			t.Skipf("tracing is forbidden here: %s", out)
		}
		t.Fatalf("%v\n%s", err, out)
	}
	var calls []string
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	unfinished := make(map[string]string)
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		l := lines.Text()
		pid, _, _ := strings.Cut(l, " ")
		if start, ok := strings.CutSuffix(l, " <unfinished ...>"); ok {
			unfinished[pid] = start
			continue
		}
		if _, rest, ok := strings.Cut(l, " resumed>"); ok {
			l = unfinished[pid] + rest
		}
		calls = append(calls, l)
	}
	seen := make(map[string]bool)
	try := func(done bool) {
		for _, files := range d.states() {
			key := ""
			for _, name := range slices.Sorted(maps.Keys(files)) {
				key += name + "\x00" + files[name] + "\x00"
			}
			if seen[key] && !done {
				continue
			}
			seen[key] = true
			after := t.TempDir()
			for name, text := range files {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(after, name)), 0o700); err != nil {
					t.Fatal(err)
				}
				writeFile(t, filepath.Join(after, name), text)
			}
			check(after, done)
		}
	}
	steps := 0
	for _, c := range calls {
		if d.call(dir, c) {
			steps++
			try(false)
		}
	}
	try(true)
	if now := snapshot(t, dir); !maps.EqualFunc(now, d.names, func(text string, i *inode) bool { return text == string(i.data) }) {
		t.Fatalf("the model has other files than the folder: %v, %v", slices.Sorted(maps.Keys(d.names)), slices.Sorted(maps.Keys(now)))
	}
	t.Logf("%d steps, %d states", steps, len(seen))
}

// TestDisk: the model finds what goes wrong without a flush.
func TestDisk(t *testing.T) {
	hex := func(s string) (h string) {
		for i := range len(s) {
			h += fmt.Sprintf(`\x%02x`, s[i])
		}
		return h
	}
	file := "3<" + hex("/d/tmp") + ">"
	create := `1 openat(AT_FDCWD<` + hex("/") + `>, "` + hex("/d/tmp") + `", O_RDWR|O_CREAT|O_EXCL, 0600) = ` + file
	write := `1 write(` + file + `, "` + hex("new") + `", 3) = 3`
	flush := `1 fsync(` + file + `) = 0`
	rename := `1 renameat(AT_FDCWD<` + hex("/") + `>, "` + hex("/d/tmp") + `", AT_FDCWD<` + hex("/") + `>, "` + hex("/d/file") + `") = 0`
	folder := `1 fsync(4<` + hex("/d") + `>) = 0`
	for _, tt := range []struct {
		name  string
		calls []string
		want  []string // of the file, sorted
	}{
		{"nothing", nil, []string{"old"}},
		{"careful", []string{create, write, flush, rename, folder}, []string{"new"}},
		{"no flush of the folder", []string{create, write, flush, rename}, []string{"new", "old"}},
		{"no flush of the file", []string{create, write, rename}, []string{"", "n", "new", "old"}},
		{"elsewhere", []string{strings.ReplaceAll(create, hex("/d/"), hex("/e/"))}, []string{"old"}},
	} {
		d := newDisk(map[string]string{"file": "old"})
		for _, c := range tt.calls {
			d.call("/d", c)
		}
		var got []string
		for _, files := range d.states() {
			got = append(got, files["file"])
		}
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestPowerCutIdentity(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, identityName)
	cuts(t, dir, "POWERCUT_ARGS=key\nnew\n--identity\n"+path, func(after string, done bool) {
		_, err := identity.Load(filepath.Join(after, identityName))
		if err != nil && (done || !errors.Is(err, fs.ErrNotExist)) {
			t.Errorf("done %v: %v", done, err)
		}
	})
}

const identityName = "identity.key"

func TestPowerCutState(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "peers.state")
	writeFile(t, path, "old\n")
	cuts(t, dir, "POWERCUT_STATE="+path, func(after string, done bool) {
		text, err := os.ReadFile(filepath.Join(after, "peers.state"))
		whole := string(text) == strings.Repeat("new\n", 500)
		if err != nil || !whole && (done || string(text) != "old\n") {
			t.Errorf("done %v: %v, %d bytes", done, err, len(text))
		}
	})
}

// TestPowerCutService: a service in the configuration has its key, or its address
// would be lost.
func TestPowerCutService(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "globalnet.uci")
	writeFile(t, path, "# mine\nconfig globalnet 'main'\n\toption state_dir '.'\n\toption network 'street'\n")
	cuts(t, dir, "POWERCUT_ARGS=service\nadd\nweb\n--to\n127.0.0.1:80\n--config\n"+path, func(after string, done bool) {
		c, _, err := config.Load(filepath.Join(after, "globalnet.uci"))
		if err != nil || c.Network != "street" || done && len(c.Services) != 1 {
			t.Fatalf("done %v: %v, %+v", done, err, c.Services)
		}
		for _, s := range c.Services {
			if info, err := os.Stat(s.Key); err != nil || info.Size() == 0 {
				t.Errorf("done %v: the service is there without its key: %v", done, err)
			}
		}
	})
}

// TestPowerCutSetup: after a boot, OpenWrt's files are all as they were, or all as
// they were to be.
func TestPowerCutSetup(t *testing.T) {
	dir := router(t)
	boot := "proc/sys/kernel/random/boot_id"
	for _, d := range []string{filepath.Dir(boot), "etc/globalnet"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(dir, boot), "first\n")
	before := configuration(t, dir)
	var finished map[string]string
	var states []map[string]string
	cuts(t, dir, "POWERCUT_ARGS=radio\nsetup\nradio1\n--root\n"+dir, func(after string, done bool) {
		writeFile(t, filepath.Join(after, boot), "second\n")
		if _, err := openwrt.OpenFiles(after).Recover(t.Context()); err != nil {
			t.Errorf("done %v: %v", done, err)
		}
		now := configuration(t, after)
		states = append(states, now)
		if done {
			finished = now
		}
	})
	if maps.Equal(finished, before) {
		t.Error("nothing was set up")
	}
	for _, s := range states {
		if !maps.Equal(s, before) && !maps.Equal(s, finished) {
			t.Errorf("neither as it was nor as it was to be: %v", s)
		}
	}
}

// configuration is what UCI reads: what begins with a dot, it does not.
func configuration(t *testing.T, root string) map[string]string {
	files := snapshot(t, filepath.Join(root, "etc/config"))
	maps.DeleteFunc(files, func(name, _ string) bool { return strings.HasPrefix(name, ".") })
	return files
}
