package web

import (
	"bytes"
	"embed"
	"net/http"
	"path"
	"strings"
)

//go:embed static
var static embed.FS

// assets are the files of the page.
type assets struct{}

func newAssets() *assets { return &assets{} }

var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
	".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon", ".woff2": "font/woff2",
}

func (a *assets) serve(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutPrefix(r.URL.Path, "/static/")
	if r.URL.Path == "/" {
		name, ok = "index.html", true
	}
	body, err := static.ReadFile("static/" + name)
	if !ok || err != nil {
		http.NotFound(w, r)
		return
	}
	if name == "index.html" {
		body = bytes.ReplaceAll(body, []byte("<!--lang-->"), []byte("en"))
	}
	w.Header().Set("Content-Type", contentTypes[path.Ext(name)])
	w.Write(body)
}
