package files

import (
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// send answers with a file, as far as the request's conditions and its range want it
// (RFC 9110 sections 13 and 14). It is not http.ServeContent, which brings 130 KB of
// MIME along for answers of several ranges; such a request gets the whole file, as
// the standard allows.
func send(w http.ResponseWriter, r *http.Request, f io.ReadSeeker, size int64, tag string) {
	head := w.Header()
	head.Set("Etag", tag)
	if match := r.Header.Values("If-Match"); match != nil && !names(match, tag, false) {
		refuse(w, http.StatusPreconditionFailed)
		return
	}
	if none := r.Header.Values("If-None-Match"); none != nil && names(none, tag, true) {
		delete(head, "Content-Type")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	from, length, status := int64(0), size, http.StatusOK
	if wanted := r.Header.Get("Range"); wanted != "" && r.Method == http.MethodGet && sameAsBefore(r, tag) {
		first, n, result := parseRange(wanted, size)
		switch result {
		case partial:
			from, length, status = first, n, http.StatusPartialContent
			head.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, first+n-1, size))
		case outside:
			delete(head, "Etag")
			head.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
			refuse(w, http.StatusRequestedRangeNotSatisfiable)
			return
		}
	}
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		refuse(w, http.StatusNotFound)
		return
	}
	head.Set("Accept-Ranges", "bytes")
	head.Set("Content-Length", strconv.FormatInt(length, 10))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		io.CopyN(w, f, length)
	}
}

// sameAsBefore reports whether what the client has a part of is still the file: no
// If-Range, or our tag. Times are never ours.
func sameAsBefore(r *http.Request, tag string) bool {
	v := r.Header.Get("If-Range")
	return v == "" || v == tag
}

// names reports whether a list of tags has this one, or all. Weak ones are not the
// same to the byte.
func names(list []string, tag string, weak bool) bool {
	for v := range strings.SplitSeq(strings.Join(list, ","), ",") {
		if v = textproto.TrimString(v); weak {
			v = strings.TrimPrefix(v, "W/")
		}
		if v == tag || v == "*" {
			return true
		}
	}
	return false
}

// rangeResult says what a range asks for.
type rangeResult int

const (
	whole   rangeResult = iota // none that we serve: the whole file
	partial                    // a part
	outside                    // what is not in the file
)

// parseRange reads bytes=first-last, bytes=first- or bytes=-length.
func parseRange(text string, size int64) (from, length int64, result rangeResult) {
	spec, ok := strings.CutPrefix(text, "bytes=")
	first, last, dash := strings.Cut(textproto.TrimString(spec), "-")
	if !ok || !dash || !isNumber(first) || !isNumber(last) || first+last == "" {
		return 0, 0, whole
	}
	// What is too large for 63 bits is larger than the file as well.
	a, _ := strconv.ParseInt(first, 10, 64)
	b, _ := strconv.ParseInt(last, 10, 64)
	switch {
	case first == "": // the last b bytes
		if b == 0 || size == 0 {
			return 0, 0, outside
		}
		b = min(b, size)
		return size - b, b, partial
	case last == "":
		b = size - 1
	case b < a:
		return 0, 0, whole // no range at all
	}
	if a >= size {
		return 0, 0, outside
	}
	return a, min(b, size-1) - a + 1, partial
}

func isNumber(s string) bool {
	return !slices.ContainsFunc([]byte(s), func(c byte) bool { return c < '0' || c > '9' })
}
