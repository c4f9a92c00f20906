package vm

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// File types of a cpio entry, those of stat(2).
const (
	typeDir     = 0o040000
	typeFile    = 0o100000
	typeSymlink = 0o120000
	typeChar    = 0o020000
)

// cpioWriter writes an archive in the "newc" format, the one the kernel unpacks
// (Documentation/driver-api/early-userspace/buffer-format.rst). An entry is
//
//	"070701", 13 numbers of 8 hexadecimal digits, name, NUL, padding to 4,
//	content, padding to 4
//
// and the numbers are inode, mode, uid, gid, links, mtime, size, major, minor,
// device major, device minor, length of the name with its NUL, checksum (unused).
// Equal input gives equal bytes. Folders are made as they are needed.
type cpioWriter struct {
	w     io.Writer
	inode int
	size  int64
	names map[string]bool
}

func newCPIOWriter(w io.Writer) *cpioWriter {
	return &cpioWriter{w: w, names: make(map[string]bool)}
}

// dir writes a folder and those it is in; nothing if it is there.
func (c *cpioWriter) dir(name string) error {
	name = clean(name)
	if name == "" || c.names[name] {
		return nil
	}
	return c.entry(name, typeDir|0o755, 0, 0, 0, nil)
}

// file writes a file of a known size.
func (c *cpioWriter) file(name string, perm fs.FileMode, size int64, content io.Reader) error {
	return c.entry(name, typeFile|int(perm.Perm()), size, 0, 0, content)
}

// text writes a small file.
func (c *cpioWriter) text(name string, perm fs.FileMode, content string) error {
	return c.file(name, perm, int64(len(content)), strings.NewReader(content))
}

func (c *cpioWriter) symlink(name, target string) error {
	return c.entry(name, typeSymlink|0o777, int64(len(target)), 0, 0, strings.NewReader(target))
}

// char writes a character device.
func (c *cpioWriter) char(name string, major, minor int) error {
	return c.entry(name, typeChar|0o600, 0, major, minor, nil)
}

// close writes the end of the archive, padded so that another may follow.
func (c *cpioWriter) close() error {
	if err := c.header("TRAILER!!!", 0, 0, 0, 0); err != nil {
		return err
	}
	return c.pad(512)
}

func (c *cpioWriter) entry(name string, mode int, size int64, major, minor int, content io.Reader) error {
	name = clean(name)
	if c.names[name] {
		return fmt.Errorf("%s is there already", name)
	}
	if err := c.dir(path.Dir(name)); err != nil {
		return err
	}
	c.names[name] = true
	c.inode++
	if size > 0xffffffff {
		return fmt.Errorf("%s is larger than the format allows", name)
	}
	if err := c.header(name, mode, size, major, minor); err != nil {
		return err
	}
	if content == nil {
		return nil
	}
	n, err := io.CopyN(c.w, content, size)
	c.size += n
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%s has %d bytes, %d expected", name, n, size)
	}
	if err != nil {
		return err
	}
	return c.pad(4)
}

func (c *cpioWriter) header(name string, mode int, size int64, major, minor int) error {
	links := 1
	if mode&typeDir != 0 && mode&typeFile == 0 {
		links = 2
	}
	n, err := fmt.Fprintf(c.w, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		c.inode, mode, 0, 0, links, 0, size, 0, 0, major, minor, len(name)+1, 0, name)
	c.size += int64(n)
	if err != nil {
		return err
	}
	return c.pad(4)
}

func (c *cpioWriter) pad(to int64) error {
	n, err := c.w.Write(make([]byte, (to-c.size%to)%to))
	c.size += int64(n)
	return err
}

// clean makes the name of an entry: no slash at either end.
func clean(name string) string {
	return strings.TrimPrefix(path.Clean("/"+name), "/")
}
