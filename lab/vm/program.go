package vm

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// libraryDirs is where the dynamic linker of Debian looks.
var libraryDirs = []string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"}

// dependencies lists the dynamic linker and the shared libraries that a program
// needs, and those that these need.
func dependencies(file string) ([]string, error) {
	var out []string
	seen := make(map[string]bool)
	var visit func(file string) error
	visit = func(file string) error {
		f, err := elf.Open(file)
		if err != nil {
			return fmt.Errorf("reading %s: %w", file, err)
		}
		defer f.Close()
		dirs := libraryDirs
		if own, err := f.DynString(elf.DT_RUNPATH); err == nil && len(own) == 1 {
			dirs = append(strings.Split(own[0], ":"), dirs...)
		}
		need, err := f.ImportedLibraries()
		if err != nil {
			return fmt.Errorf("reading %s: %w", file, err)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP {
				b := make([]byte, p.Filesz)
				if _, err := p.ReadAt(b, 0); err != nil {
					return fmt.Errorf("reading %s: %w", file, err)
				}
				need = append(need, strings.TrimRight(string(b), "\x00"))
			}
		}
		for _, name := range need {
			if seen[name] {
				continue
			}
			seen[name] = true
			path, err := findLibrary(name, dirs)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			out = append(out, path)
			if err := visit(path); err != nil {
				return err
			}
		}
		return nil
	}
	return out, visit(file)
}

func findLibrary(name string, dirs []string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", errors.New("library " + name + " is missing")
}
