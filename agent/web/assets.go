package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// packed are the files of the page, made of the folder static, each compressed: lines of
// name and length, an empty line, and the files one after the other. `go test ./agent/web
// -update` makes it.
//
//go:embed static.pack
var packed []byte

const indexName = "index.html"

// assets are the files of the page. They stay in the binary, compressed.
type assets struct {
	files map[string][]byte
	tag   string // a hash of them all: part of their paths
	index []byte // not compressed, with those paths
}

// loadAssets panics where the binary was built from a broken pack.
func loadAssets() *assets {
	a := &assets{files: make(map[string][]byte)}
	sum := sha256.Sum256(packed)
	a.tag = hex.EncodeToString(sum[:6])
	head, rest, _ := bytes.Cut(packed, []byte("\n\n"))
	for line := range strings.Lines(string(head)) {
		name, length, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		size, err := strconv.Atoi(length)
		if err != nil || size < 0 || size > len(rest) {
			panic("web: static.pack is broken")
		}
		a.files[name], rest = rest[:size], rest[size:]
	}
	a.index = bytes.ReplaceAll(unzip(a.files[indexName]), []byte(`"/static/`), []byte(`"/static/`+a.tag+`/`))
	return a
}

func unzip(b []byte) []byte {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		panic("web: static.pack is broken")
	}
	text, err := io.ReadAll(r)
	if err != nil {
		panic("web: static.pack is broken")
	}
	return text
}

var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".json": "application/json",
	".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon", ".woff2": "font/woff2",
	".webmanifest": "application/manifest+json",
}

// serveFile answers with a file, or with the page.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "use GET", http.StatusMethodNotAllowed)
		return
	}
	if r.URL.Path == "/" {
		s.servePage(w, r)
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/static/")
	name, forever := strings.CutPrefix(name, s.assets.tag+"/")
	file := s.assets.files[name]
	if !ok || file == nil || name == indexName {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", contentTypes[path.Ext(name)])
	h.Set("ETag", `"`+s.assets.tag+`"`)
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "no-cache")
	if forever {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if strings.Contains(r.Header.Get("If-None-Match"), s.assets.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
	} else {
		file = unzip(file)
	}
	h.Set("Content-Length", fmt.Sprint(len(file)))
	if r.Method == http.MethodGet {
		w.Write(file)
	}
}
