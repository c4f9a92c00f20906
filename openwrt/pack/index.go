package pack

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"globalnet/openwrt/pack/deflate"
)

// Entry is a package in a feed: what it is, and the bytes that were written.
type Entry struct {
	Package Package
	Bytes   []byte
}

func sorted(entries []Entry) []Entry {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Package.Name, b.Package.Name) })
	return entries
}

// OpkgIndex returns the files Packages and Packages.gz of a feed of opkg. The
// signature of the former goes into Packages.sig.
func OpkgIndex(entries []Entry) (packages, compressed []byte, err error) {
	var b bytes.Buffer
	for _, e := range sorted(entries) {
		p := e.Package
		if err := p.check(); err != nil {
			return nil, nil, fmt.Errorf("writing index: %w", err)
		}
		size, err := p.tarSize()
		if err != nil {
			return nil, nil, fmt.Errorf("writing index: %w", err)
		}
		fmt.Fprintf(&b, "%sFilename: %s\nSize: %d\nSHA256sum: %x\n%s\n",
			p.fields(size), p.IPKName(), len(e.Bytes), sha256.Sum256(e.Bytes), p.descriptionField())
	}
	z := deflate.New().Stream()
	z.Write(b.Bytes())
	return b.Bytes(), z.Gzip(), nil
}

// APKIndex returns packages.adb of a feed of apk.
func APKIndex(description string, entries []Entry, key *SigningKey) ([]byte, error) {
	d := newDatabase()
	var infos []value
	for _, e := range sorted(entries) {
		p := e.Package
		if err := p.checkAPK(); err != nil {
			return nil, fmt.Errorf("writing index: %w", err)
		}
		// An index names a package by the digest of its database.
		db, _ := p.database()
		sum := sha256.Sum256(db)
		infos = append(infos, d.object(p.infoSlots(d, d.blob(sum[:]), max(p.size(), 1), int64(len(e.Bytes)))...))
	}
	db := d.finish(d.object(d.text(description), d.object(infos...)))
	if len(db) > maxDatabase {
		return nil, errors.New("writing index: too many packages")
	}
	inner, err := appendSigned(nil, schemaIndex, db, key)
	if err != nil {
		return nil, err
	}
	z := deflate.New().Stream()
	z.Write(inner)
	return deflated(z), nil
}
