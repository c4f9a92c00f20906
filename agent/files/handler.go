package files

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

const (
	maxPath    = 1024
	maxListing = 1000 // names shown of one folder
	indexName  = "index.html"
)

// handler answers requests. It keeps nothing between them.
type handler struct{ cfg Config }

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head["Date"] = nil // a clock that is wrong by its own amount names the machine
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "no-referrer") // the address of a hidden service is nobody else's business
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		head.Set("Allow", "GET, HEAD")
		head.Set("Connection", "close") // what else it sends is not read
		refuse(w, http.StatusMethodNotAllowed)
		return
	}
	if r.ContentLength != 0 {
		head.Set("Connection", "close")
		refuse(w, http.StatusRequestEntityTooLarge)
		return
	}
	name, ok := localName(r.URL.Path)
	if !ok {
		refuse(w, http.StatusNotFound)
		return
	}
	root, err := os.OpenRoot(h.cfg.Dir)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable)
		return
	}
	defer root.Close()
	h.serve(w, r, root, name)
}

// refuse tells what is wrong and nothing of why.
func refuse(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintln(w, strings.ToLower(http.StatusText(status)))
}

// localName is the name below the folder that a path means; false if it can mean none.
func localName(urlPath string) (string, bool) {
	if len(urlPath) > maxPath || !strings.HasPrefix(urlPath, "/") || strings.ContainsAny(urlPath, "\x00\\") {
		return "", false
	}
	if urlPath == "/" {
		return ".", true
	}
	rest := strings.TrimSuffix(urlPath[1:], "/")
	for part := range strings.SplitSeq(rest, "/") {
		// ".", "..", hidden files; and "//", which would be a second name of the same.
		if part == "" || part[0] == '.' {
			return "", false
		}
	}
	return rest, true
}

// open opens a plain file or a folder. Without O_NONBLOCK a named pipe would hold us.
func open(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.IsDir() && !info.Mode().IsRegular() {
		err = errors.New("neither file nor folder")
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request, root *os.Root, name string) {
	f, info, err := open(root, name)
	if err != nil {
		refuse(w, http.StatusNotFound)
		return
	}
	defer func() { f.Close() }()
	slash := strings.HasSuffix(r.URL.Path, "/")
	switch {
	case !info.IsDir() && slash:
		refuse(w, http.StatusNotFound)
		return
	case info.IsDir() && !slash:
		// Relative, and it begins with a dot: no name can turn it into another host.
		w.Header().Set("Location", "./"+url.PathEscape(path.Base(name))+"/")
		refuse(w, http.StatusMovedPermanently)
		return
	case info.IsDir():
		index, indexInfo, err := open(root, path.Join(name, indexName))
		if err != nil || indexInfo.IsDir() {
			if err == nil {
				index.Close()
			}
			h.list(w, root, f, name)
			return
		}
		f.Close()
		f, info, name = index, indexInfo, path.Join(name, indexName)
	}
	w.Header().Set("Content-Type", contentType(name))
	send(w, r, f, info.Size(), h.tag(name, info)) // without the file's time
}

// tag changes with the file, and says neither when nor how.
func (h *handler) tag(name string, info fs.FileInfo) string {
	b := append([]byte("globalnet folder tag"), h.cfg.Secret[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(info.Size()))
	b = binary.BigEndian.AppendUint64(b, uint64(info.ModTime().UnixNano()))
	sum := sha256.Sum256(append(b, name...))
	return `"` + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10])) + `"`
}

// list shows what is in a folder, if that is wanted: names, not times.
func (h *handler) list(w http.ResponseWriter, root *os.Root, dir *os.File, name string) {
	if !h.cfg.Listing {
		refuse(w, http.StatusNotFound)
		return
	}
	// A folder of a million names is not read to its end.
	entries, err := dir.ReadDir(4 * maxListing)
	if err != nil && !errors.Is(err, io.EOF) {
		refuse(w, http.StatusNotFound)
		return
	}
	var names []string
	for _, e := range entries {
		if e.Name()[0] == '.' {
			continue
		}
		info, err := root.Stat(path.Join(name, e.Name()))
		switch {
		case err != nil: // leads outside, or nowhere
		case info.IsDir():
			names = append(names, e.Name()+"/")
		case info.Mode().IsRegular():
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	more := len(names) > maxListing || len(entries) == 4*maxListing
	names = names[:min(len(names), maxListing)]
	var b strings.Builder
	title := "/"
	if name != "." {
		title += name + "/"
	}
	title = html.EscapeString(strings.ToValidUTF8(title, "\uFFFD"))
	fmt.Fprintf(&b, "<!doctype html>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>%s</title>\n<h1>%s</h1>\n<ul>\n", title, title)
	if name != "." {
		b.WriteString("<li><a href=\"../\">../</a>\n")
	}
	for _, n := range names {
		bare, isDir := strings.CutSuffix(n, "/")
		link := "./" + url.PathEscape(bare)
		if isDir {
			link += "/"
		}
		fmt.Fprintf(&b, "<li><a href=\"%s\">%s</a>\n", html.EscapeString(link), html.EscapeString(strings.ToValidUTF8(n, "\uFFFD")))
	}
	b.WriteString("</ul>\n")
	if more {
		b.WriteString("<p>There is more.\n")
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	w.Write([]byte(b.String()))
}

// types are our own: what the system's tables say differs by machine, and so would
// the answers.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".htm": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
	".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8", ".json": "application/json",
	".txt": "text/plain; charset=utf-8", ".md": "text/plain; charset=utf-8", ".csv": "text/csv; charset=utf-8",
	".xml": "text/xml; charset=utf-8", ".atom": "application/atom+xml", ".rss": "application/rss+xml", ".ics": "text/calendar; charset=utf-8",
	".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp",
	".avif": "image/avif", ".svg": "image/svg+xml", ".ico": "image/x-icon",
	".mp3": "audio/mpeg", ".ogg": "audio/ogg", ".opus": "audio/ogg", ".flac": "audio/flac", ".wav": "audio/wav", ".m4a": "audio/mp4",
	".mp4": "video/mp4", ".webm": "video/webm", ".mkv": "video/matroska",
	".woff": "font/woff", ".woff2": "font/woff2", ".ttf": "font/ttf", ".otf": "font/otf",
	".pdf": "application/pdf", ".epub": "application/epub+zip", ".wasm": "application/wasm",
	".zip": "application/zip", ".gz": "application/gzip", ".tar": "application/x-tar", ".7z": "application/x-7z-compressed",
	".webmanifest": "application/manifest+json",
}

func contentType(name string) string {
	if t, ok := types[strings.ToLower(path.Ext(name))]; ok {
		return t
	}
	return "application/octet-stream"
}
