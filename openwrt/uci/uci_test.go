package uci

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"globalnet/agent/config"
)

// real are files as routers have them.
func real(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/*")
	if err != nil || len(names) == 0 {
		t.Fatal("no files", err)
	}
	files := make(map[string][]byte)
	for _, name := range names {
		if info, err := os.Stat(name); err != nil || info.IsDir() {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = text
	}
	return files
}

func parse(t testing.TB, text string) *File {
	t.Helper()
	f, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return f
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestUntouchedFilesKeepEveryByte(t *testing.T) {
	for name, text := range real(t) {
		f := parse(t, string(text))
		if !bytes.Equal(f.Bytes(), text) {
			t.Errorf("%s:\n%s", name, f.Bytes())
		}
		for _, s := range f.Sections() {
			for _, o := range f.Options(s.Ref) {
				if v, _ := f.Get(s.Ref, o); len(f.List(s.Ref, o)) == 1 && !isListed(f, s.Ref, o) {
					must(t, f.Set(s.Ref, o, v))
				}
				if isListed(f, s.Ref, o) {
					must(t, f.SetList(s.Ref, o, f.List(s.Ref, o)...))
					must(t, f.AddList(s.Ref, o, f.List(s.Ref, o)[0]))
				}
			}
		}
		if !bytes.Equal(f.Bytes(), text) {
			t.Errorf("%s, after setting what is there:\n%s", name, f.Bytes())
		}
	}
}

func isListed(f *File, ref, name string) bool {
	return slices.ContainsFunc(f.find(ref, name), func(i int) bool { return f.nodes[i].kind == list })
}

// TestAddedSectionsLeaveNothing adds what the package adds, twice, and removes it.
func TestAddedSectionsLeaveNothing(t *testing.T) {
	for name, text := range real(t) {
		f := parse(t, string(text))
		for range 2 {
			for _, section := range []string{"globalnet", "globalnet_lan"} {
				must(t, f.AddSection("zone", section))
				must(t, f.Set(section, "name", "it's"))
				must(t, f.AddList(section, "device", "gn-+"))
				must(t, f.AddList(section, "device", "gnmesh0"))
			}
		}
		again := parse(t, string(f.Bytes()))
		if got := again.List("globalnet", "device"); !slices.Equal(got, []string{"gn-+", "gnmesh0"}) {
			t.Errorf("%s: devices %q", name, got)
		}
		if v, _ := again.Get("globalnet_lan", "name"); v != "it's" {
			t.Errorf("%s: name %q", name, v)
		}
		again.DeleteSection("globalnet_lan")
		again.DeleteSection("globalnet")
		again.DeleteSection("globalnet")
		want := text
		if !bytes.HasSuffix(want, []byte("\n")) {
			want = append(slices.Clip(want), '\n') // a last line must end to be followed
		}
		if !bytes.Equal(again.Bytes(), want) {
			t.Errorf("%s:\n%q\nwant\n%q", name, again.Bytes(), want)
		}
	}
	f := parse(t, "")
	must(t, f.AddSection("a", "b"))
	if f.DeleteSection("b"); len(f.Bytes()) != 0 {
		t.Errorf("an empty file became %q", f.Bytes())
	}
}

func TestEdits(t *testing.T) {
	const base = "config a 'x'\n\toption\tp \t\"1\"\t# why\n\tlist l 'm'\n\n# next\nconfig a\n\toption q 2\n"
	for _, tt := range []struct {
		name string
		edit func(f *File) error
		want string
	}{
		{"value keeps its line", func(f *File) error { return f.Set("x", "p", "new") }, strings.Replace(base, `"1"`, "'new'", 1)},
		{"new option", func(f *File) error { return f.Set("x", "n", "v") }, strings.Replace(base, "'m'\n", "'m'\n\toption n 'v'\n", 1)},
		{"list goes on", func(f *File) error { return f.AddList("x", "l", "k") }, strings.Replace(base, "'m'\n", "'m'\n\tlist l 'k'\n", 1)},
		{"option becomes list", func(f *File) error { return f.AddList("x", "p", "2") }, strings.Replace(strings.Replace(base, "\toption\tp \t\"1\"\t# why\n", "", 1), "'m'\n", "'m'\n\tlist p '1'\n\tlist p '2'\n", 1)},
		{"list becomes option", func(f *File) error { return f.Set("x", "l", "z") }, strings.Replace(base, "\tlist l 'm'\n", "\toption l 'z'\n", 1)},
		{"not in the list", func(f *File) error { f.RemoveList("x", "l", "z"); return nil }, base},
		{"out of the list", func(f *File) error { f.RemoveList("x", "l", "m"); return nil }, strings.Replace(base, "\tlist l 'm'\n", "", 1)},
		{"delete", func(f *File) error { f.Delete("x", "p"); return nil }, strings.Replace(base, "\toption\tp \t\"1\"\t# why\n", "", 1)},
		{"empty list", func(f *File) error { return f.SetList("x", "l") }, strings.Replace(base, "\tlist l 'm'\n", "", 1)},
		{"anonymous", func(f *File) error { return f.Set("@a[1]", "q", "3") }, strings.Replace(base, "q 2", "q '3'", 1)},
		{"first of a type has a name", func(f *File) error { return f.Set("@a[0]", "p", "3") }, strings.Replace(base, `"1"`, "'3'", 1)},
		{"section there", func(f *File) error { return f.AddSection("a", "x") }, base},
		{"delete section", func(f *File) error { f.DeleteSection("x"); return nil }, "\n# next\nconfig a\n\toption q 2\n"},
		{"delete anonymous", func(f *File) error { f.DeleteSection("@a[1]"); return nil }, base[:strings.Index(base, "config a\n")]},
	} {
		f := parse(t, base)
		if err := tt.edit(f); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got := string(f.Bytes()); got != tt.want {
			t.Errorf("%s:\n%q\nwant\n%q", tt.name, got, tt.want)
		}
		if !equal(f, parse(t, string(f.Bytes()))) {
			t.Errorf("%s: read back differently", tt.name)
		}
	}
}

func TestRefusedEdits(t *testing.T) {
	f := parse(t, "config a 'x'\n")
	for name, tt := range map[string]struct{ err, want error }{
		"no section":    {f.Set("y", "p", "v"), ErrNoSection},
		"no such index": {f.Set("@a[1]", "p", "v"), ErrNoSection},
		"no index":      {f.AddList("@a", "p", "v"), ErrNoSection},
		"empty":         {f.SetList("", "p", "v"), ErrNoSection},
		"other type":    {f.AddSection("b", "x"), ErrType},
		"bad name":      {f.AddSection("b", "y z"), nil},
		"no name":       {f.AddSection("b", ""), nil},
		"bad type":      {f.AddSection("b c", "y"), nil},
		"bad option":    {f.Set("x", "p-q", "v"), nil},
		"zero byte":     {f.Set("x", "p", "v\x00"), nil},
	} {
		if tt.err == nil || tt.want != nil && !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v", name, tt.err)
		}
	}
	if string(f.Bytes()) != "config a 'x'\n" {
		t.Errorf("changed: %q", f.Bytes())
	}
}

func TestSyntaxErrors(t *testing.T) {
	for text, line := range map[string]int{
		"option a 1": 1, "config": 1, "config a b c": 1, "config a 'b c'": 1, "config a\noption x": 2, "config a\n\nlist x y z": 3,
		"config a\noption 'x y' z": 2, "config a\noption x 'y\n\n": 2, "config a\noption x y\\\n\nfoo": 4, "x\x00y": 1, "package": 1,
		"config a\noption x \"\\\x00\"": 2,
	} {
		_, err := Parse([]byte(text))
		var e *SyntaxError
		if !errors.As(err, &e) || e.Line != line {
			t.Errorf("%q: %v, want line %d", text, err, line)
		}
	}
	if _, err := Parse(make([]byte, maxFile+1)); err == nil {
		t.Error("a giant was read")
	}
}

func TestSave(t *testing.T) {
	path := filepath.Join(t.TempDir(), "firewall")
	must(t, os.WriteFile(path, []byte("config a 'x'\n"), 0o640))
	s, err := Open(path)
	must(t, err)
	if written, err := s.Save(); written || err != nil {
		t.Errorf("saved without a change: %v, %v", written, err)
	}
	must(t, s.Set("x", "p", "1"))
	if written, err := s.Save(); !written || err != nil {
		t.Errorf("saved: %v, %v", written, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	must(t, os.WriteFile(path, []byte("config a 'y'\n"), 0o640))
	must(t, s.Set("x", "p", "2"))
	if _, err := s.Save(); !errors.Is(err, ErrChanged) {
		t.Errorf("overwrote what somebody else wrote: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	missing, err := Open(filepath.Join(filepath.Dir(path), "missing"))
	must(t, err)
	must(t, missing.AddSection("a", "b"))
	if written, err := missing.Save(); !written || err != nil {
		t.Errorf("a new file: %v, %v", written, err)
	}
	must(t, os.WriteFile(path, []byte("config"), 0o600))
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("a damaged file: %v", err)
	}
}

// sameAs compares with the reader of the agent, which was written apart.
func sameAs(t *testing.T, f *File, text []byte) {
	t.Helper()
	theirs, err := config.ParseFile(text)
	if err != nil {
		t.Fatalf("%q: the agent says %v", text, err)
	}
	type pair struct{ name, value string }
	var ours, others []pair
	for _, n := range f.nodes {
		if n.kind != other {
			ours = append(ours, pair{n.name, n.value})
		}
	}
	for _, s := range theirs.Sections {
		others = append(others, pair{s.Type, s.Name})
		for _, o := range s.Options {
			others = append(others, pair{o.Name, o.Value})
		}
	}
	if !slices.Equal(ours, others) {
		t.Errorf("%q\nread as  %q\nthe agent %q", text, ours, others)
	}
}

func FuzzFile(f *testing.F) {
	for _, text := range real(f) {
		f.Add(text, "v")
	}
	f.Add([]byte("config a x\\"), "it's")
	f.Add([]byte("config a x # c\\"), "")
	f.Add([]byte("config a x;option b 'c\nd'\"e\\\nf\";"), "\n")
	f.Fuzz(func(t *testing.T, text []byte, value string) {
		file, err := Parse(text)
		if err != nil {
			if _, err := config.ParseFile(text); err == nil {
				t.Fatalf("%q: refused, but the agent reads it", text)
			}
			return
		}
		if !bytes.Equal(file.Bytes(), text) {
			t.Fatalf("%q became %q", text, file.Bytes())
		}
		sameAs(t, file, text)
		for _, s := range file.Sections() {
			for _, o := range file.Options(s.Ref) {
				if file.Set(s.Ref, o, value) == nil {
					if v, _ := file.Get(s.Ref, o); v != value {
						t.Fatalf("%s.%s is %q", s.Ref, o, v)
					}
				}
			}
			if file.AddList(s.Ref, "new_list", value) == nil && len(file.List(s.Ref, "new_list")) != 1 && isNew(text) {
				t.Fatalf("list %q", file.List(s.Ref, "new_list"))
			}
		}
		if file.AddSection("zone", "ours") == nil {
			must(t, file.Set("ours", "p", "q"))
		}
		again, err := Parse(file.Bytes())
		if err != nil {
			t.Fatalf("%q does not read back: %v", file.Bytes(), err)
		}
		if !equal(file, again) {
			t.Fatalf("%q reads back differently", file.Bytes())
		}
		file.DeleteSection("ours")
		if _, ok := file.Type("ours"); ok {
			t.Fatal("the section is still there")
		}
	})
}

func isNew(text []byte) bool { return !bytes.Contains(text, []byte("new_list")) }

// TestRealUCI lets the program of OpenWrt read what was written here, and edit it.
func TestRealUCI(t *testing.T) {
	program := os.Getenv("UCI")
	if program == "" {
		program = "uci"
	}
	if _, err := exec.LookPath(program); err != nil {
		t.Skip(err)
	}
	for name, text := range real(t) {
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, text, 0o600))
		uci := func(args ...string) string {
			cmd := exec.Command(program, append([]string{"-c", dir, "-P", filepath.Join(dir, "delta")}, args...)...)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%s: uci %v: %v\n%s", name, args, err, out)
			}
			return string(out)
		}
		before := uci("show", name)
		s, err := Open(path)
		must(t, err)
		for _, section := range s.Sections() {
			for _, o := range s.Options(section.Ref) {
				got := strings.TrimSuffix(uci("-d", "\x01", "get", name+"."+section.Ref+"."+o), "\n")
				if want := strings.Join(s.List(section.Ref, o), "\x01"); got != want {
					t.Errorf("%s.%s.%s: uci reads %q, we %q", name, section.Ref, o, got, want)
				}
			}
		}
		must(t, s.AddSection("zone", "globalnet"))
		must(t, s.Set("globalnet", "name", "a 'quoted' \"value\" #1\\"))
		must(t, s.AddList("globalnet", "device", "gn-+"))
		_, err = s.Save()
		must(t, err)
		if got := uci("get", name+".globalnet.name"); got != "a 'quoted' \"value\" #1\\\n" {
			t.Errorf("%s: uci reads %q", name, got)
		}
		uci("delete", name+".globalnet")
		uci("commit", name)
		if after := uci("show", name); after != before {
			t.Errorf("%s: after it was removed:\n%s\nbefore:\n%s", name, after, before)
		}
	}
}
