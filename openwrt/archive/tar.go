package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The reader of tar files is our own, since archive/tar would be a fifth of a percent
// of the router's binary. It reads the form that OpenWrt's and our own packages have:
//
//	 0  name      100  mode, octal    124  size, octal    156  kind
//	157  link     257  "ustar"        345  what stands before the name
//
// Kinds: '0' or 0 a file, '2' a symbolic link, '5' a folder, 'L' and 'K' the long name
// and the long target of the entry that follows.
type header struct {
	name, link string
	mode       uint32
	size       int64
	kind       byte
}

const block = 512

func parseHeader(b []byte) (*header, error) {
	sum := 8 * int64(' ')
	for i, c := range b {
		if i < 148 || i >= 156 {
			sum += int64(c)
		}
	}
	want, err := octal(b[148:156])
	mode, err2 := octal(b[100:108])
	size, err3 := octal(b[124:136])
	if err != nil || err2 != nil || err3 != nil || want != sum {
		return nil, errArchive
	}
	h := &header{name: text(b[:100]), link: text(b[157:257]), mode: uint32(mode) & 0o7777, size: size, kind: b[156]}
	if prefix := text(b[345:500]); prefix != "" && string(b[257:263]) == "ustar\x00" {
		h.name = prefix + "/" + h.name
	}
	return h, nil
}

func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

func octal(b []byte) (int64, error) {
	s := strings.Trim(text(b), " ")
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 8, 36)
	return int64(n), err
}

// untar calls each for every entry. What it does not read of the content is skipped.
func untar(r io.Reader, each func(h *header, content io.Reader) error) error {
	r = io.LimitReader(r, maxUnpacked)
	var b [block]byte
	var longName, longLink string
	for n := 0; ; n++ {
		if _, err := io.ReadFull(r, b[:]); errors.Is(err, io.EOF) {
			return nil // without the two empty blocks
		} else if err != nil {
			return err
		}
		if b == [block]byte{} {
			_, err := io.Copy(io.Discard, r)
			return err
		}
		if n > maxEntries {
			return fmt.Errorf("%w: more than %d files", errArchive, maxEntries)
		}
		h, err := parseHeader(b[:])
		if err != nil {
			return err
		}
		content := &io.LimitedReader{R: r, N: h.size}
		if h.kind == 'L' || h.kind == 'K' {
			name, err := io.ReadAll(io.LimitReader(content, 4096))
			if err != nil {
				return err
			}
			if h.kind == 'L' {
				longName = text(name)
			} else {
				longLink = text(name)
			}
		} else {
			if longName != "" {
				h.name = longName
			}
			if longLink != "" {
				h.link = longLink
			}
			longName, longLink = "", ""
			if err := each(h, content); err != nil {
				return err
			}
		}
		if _, err := io.Copy(io.Discard, content); err != nil {
			return err
		}
		if content.N > 0 {
			return io.ErrUnexpectedEOF
		}
		if pad := -h.size & (block - 1); pad > 0 {
			if _, err := io.ReadFull(r, b[:pad]); err != nil {
				return err
			}
		}
	}
}
