package pack

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ReadTree returns the files below dir. Only whether a file is a program is taken
// from its mode: the rest depends on who cloned the repository.
func ReadTree(dir string) ([]File, error) {
	var files []File
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f := File{Path: filepath.ToSlash(name), Mode: 0o644, Content: text}
		switch {
		case info.Mode()&0o111 != 0:
			f.Mode = 0o755
		case strings.HasPrefix(f.Path, "etc/config/"):
			f.Mode = 0o600 // it may hold a passphrase
		}
		files = append(files, f)
		return nil
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no files in %s", dir)
	}
	return files, err
}
