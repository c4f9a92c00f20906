// Package examples holds topologies to start from; docs/lab.md lists them.
package examples

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

//go:embed *.lab
var files embed.FS

// Default is the example that `lab run` starts.
const Default = "five"

// Names lists the examples.
func Names() []string {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		panic(err) // embedded: it cannot fail
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".lab"))
	}
	return names
}

// Read returns the description in the file at path or, where there is none, of the example of that name.
func Read(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil {
		return string(b), nil
	}
	if e, embedded := files.ReadFile(path + ".lab"); embedded == nil {
		return string(e), nil
	}
	return "", fmt.Errorf("%w (and no example of that name; there are %s)", err, strings.Join(Names(), ", "))
}
