package archive

import (
	"bufio"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
)

// adb is a file of apk's third format: a database, then the files' contents.
type adb struct{ db []byte }

// Types of its values, in the high four bits; docs of apk-tools, doc/apk-v3.5.scd.
func (d adb) blob(v uint32) ([]byte, error) {
	at, size := uint64(v&(1<<28-1)), uint64(0)
	le := binary.LittleEndian
	rest := d.db[min(at, uint64(len(d.db))):]
	switch kind := v >> 28; {
	case v == 0:
		return nil, nil
	case kind == 8 && len(rest) >= 1:
		size, rest = uint64(rest[0]), rest[1:]
	case kind == 9 && len(rest) >= 2:
		size, rest = uint64(le.Uint16(rest)), rest[2:]
	case kind == 10 && len(rest) >= 4:
		size, rest = uint64(le.Uint32(rest)), rest[4:]
	default:
		return nil, errArchive
	}
	if size > uint64(len(rest)) {
		return nil, errArchive
	}
	return rest[:size], nil
}

func (d adb) text(v uint32) string {
	b, err := d.blob(v)
	if err != nil {
		return ""
	}
	return string(b)
}

func (d adb) number(v uint32) uint64 {
	if v>>28 == 1 {
		return uint64(v & (1<<28 - 1))
	}
	return 0
}

// slots are the values of an object or an array; slots[0] is the first field.
func (d adb) slots(v uint32) ([]uint32, error) {
	if v == 0 {
		return nil, nil
	}
	at := int(v & (1<<28 - 1))
	if kind := v >> 28; kind != 13 && kind != 14 || at+4 > len(d.db) {
		return nil, errArchive
	}
	n := int(binary.LittleEndian.Uint32(d.db[at:])) - 1
	if n < 0 || n > maxEntries || at+4+4*n > len(d.db) {
		return nil, errArchive
	}
	all := make([]uint32, n)
	for i := range all {
		all[i] = binary.LittleEndian.Uint32(d.db[at+4+4*i:])
	}
	return all, nil
}

// object returns at least n slots.
func (d adb) object(v uint32, n int) ([]uint32, error) {
	slots, err := d.slots(v)
	for len(slots) < n {
		slots = append(slots, 0)
	}
	return slots, err
}

// apk reads a file of the third format: blocks of a kind and a size, the database
// first, then signatures, then the contents.
func (a *Archive) apk(b *bufio.Reader, keep func(string) bool) error {
	var head [8]byte
	if _, err := io.ReadFull(b, head[:4]); err != nil {
		return err
	}
	inner := b
	switch string(head[:4]) {
	case "ADBd":
		inner = bufio.NewReader(io.LimitReader(flate.NewReader(b), maxUnpacked))
		if _, err := io.ReadFull(inner, head[:4]); err != nil {
			return err
		}
	case "ADB.":
	default:
		return fmt.Errorf("%w of a compression that routers read", errArchive)
	}
	if _, err := io.ReadFull(inner, head[4:]); err != nil || string(head[:]) != "ADB.pckg" {
		return errArchive
	}
	var dirs [][]int // by folder and file, the index in a.Files
	for {
		if _, err := inner.Peek(1); err == io.EOF {
			return nil
		}
		if _, err := io.ReadFull(inner, head[:4]); err != nil {
			return err
		}
		word := binary.LittleEndian.Uint32(head[:])
		kind, size := word>>30, int64(word&(1<<30-1))-4
		if size < 0 || kind > 2 {
			return errArchive
		}
		payload := &io.LimitedReader{R: inner, N: size}
		if err := a.block(kind, payload, &dirs, keep); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, payload); err != nil {
			return err
		}
		if payload.N > 0 {
			return io.ErrUnexpectedEOF
		}
		// The last block may lack what fills it up.
		_, _ = inner.Discard(int(-(size + 4) & 7))
	}
}

func (a *Archive) block(kind uint32, payload *io.LimitedReader, dirs *[][]int, keep func(string) bool) error {
	switch {
	case kind == 0 && *dirs == nil && payload.N >= 8 && payload.N <= maxText:
		db := make([]byte, payload.N)
		if _, err := io.ReadFull(payload, db); err != nil {
			return err
		}
		var err error
		*dirs, err = a.database(adb{db})
		return err
	case kind == 2 && payload.N >= 8:
		var at [8]byte
		if _, err := io.ReadFull(payload, at[:]); err != nil {
			return err
		}
		dir, file := binary.LittleEndian.Uint32(at[:]), binary.LittleEndian.Uint32(at[4:])
		if dir-1 >= uint32(len(*dirs)) || file-1 >= uint32(len((*dirs)[dir-1])) {
			return errArchive
		}
		return a.Files[(*dirs)[dir-1][file-1]].take(payload, keep)
	case kind != 1:
		return errArchive
	}
	return nil
}

var apkScripts = []string{"trigger", "pre-install", "post-install", "pre-deinstall", "post-deinstall", "pre-upgrade", "post-upgrade"}

func (a *Archive) database(d adb) ([][]int, error) {
	root, err := d.object(binary.LittleEndian.Uint32(d.db[4:]), 3)
	if err != nil {
		return nil, err
	}
	info, err := d.object(root[0], 5)
	if err != nil {
		return nil, err
	}
	a.Name, a.Version, a.Arch = d.text(info[0]), d.text(info[1]), d.text(info[4])
	scripts, err := d.object(root[2], len(apkScripts))
	if err != nil {
		return nil, err
	}
	for i, name := range apkScripts {
		if text := d.text(scripts[i]); text != "" {
			a.Scripts[name] = text
		}
	}
	paths, err := d.slots(root[1])
	if err != nil {
		return nil, err
	}
	dirs := make([][]int, 0, len(paths))
	for _, p := range paths {
		indexes, err := a.folder(d, p)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, indexes)
	}
	return dirs, nil
}

func (a *Archive) folder(d adb, v uint32) ([]int, error) {
	dir, err := d.object(v, 3)
	if err != nil {
		return nil, err
	}
	files, err := d.slots(dir[2])
	if err != nil {
		return nil, err
	}
	var indexes []int
	for _, slot := range files {
		f, err := d.object(slot, 6)
		if err != nil || len(a.Files) >= maxEntries {
			return nil, errArchive
		}
		acl, err := d.object(f[1], 1)
		if err != nil {
			return nil, err
		}
		entry := File{Path: d.text(dir[0]) + "/" + d.text(f[0]), Mode: uint32(d.number(acl[0]))}
		if target, err := d.blob(f[5]); err == nil && len(target) > 2 {
			entry.Link = string(target[2:])
		}
		indexes = append(indexes, len(a.Files))
		a.Files = append(a.Files, entry)
	}
	return indexes, nil
}
