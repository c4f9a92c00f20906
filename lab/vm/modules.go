package vm

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// moduleFile is a module of the kernel and what it is loaded with.
type moduleFile struct {
	path       string // in this machine
	parameters string
}

// resolveModules lists the modules wanted and all they depend on, in the order of
// loading. Those built into the kernel are left out.
func resolveModules(dir string, want []string) ([]moduleFile, error) {
	dep, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	return orderModules(dir, string(dep), string(builtin), want)
}

// orderModules works on the text of modules.dep, "module: dependency …" a line.
func orderModules(dir, dep, builtin string, want []string) ([]moduleFile, error) {
	type module struct {
		path string
		deps []string
	}
	modules := make(map[string]module)
	for line := range strings.Lines(dep) {
		file, deps, ok := strings.Cut(strings.TrimSpace(line), ":")
		if ok {
			modules[moduleName(file)] = module{file, strings.Fields(deps)}
		}
	}
	inside := make(map[string]bool)
	for line := range strings.Lines(builtin) {
		inside[moduleName(strings.TrimSpace(line))] = true
	}
	var out []moduleFile
	done := make(map[string]bool)
	var add func(name, parameters string) error
	add = func(name, parameters string) error {
		if done[name] || inside[name] {
			return nil
		}
		done[name] = true
		m, ok := modules[name]
		if !ok {
			return fmt.Errorf("the kernel has no module %s", name)
		}
		for _, d := range m.deps {
			if err := add(moduleName(d), ""); err != nil {
				return fmt.Errorf("%s needs it: %w", name, err)
			}
		}
		out = append(out, moduleFile{filepath.Join(dir, m.path), parameters})
		return nil
	}
	for _, w := range want {
		name, parameters, _ := strings.Cut(w, " ")
		if err := add(moduleName(name), parameters); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// moduleName is the name of a module from its file: the kernel takes - for _.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}
