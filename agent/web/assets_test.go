package web

import (
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write static.pack")

// The pack holds the files of the folder. It is judged by what is in it: other versions
// of the compressor may write other bytes.
func TestPack(t *testing.T) {
	entries, err := os.ReadDir("static")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		writePack(t, entries)
	}
	packed, err = os.ReadFile("static.pack")
	if err != nil {
		t.Fatal(err)
	}
	a := loadAssets()
	if len(a.files) != len(entries) {
		t.Errorf("%d files in the pack, %d in the folder: go test ./agent/web -update", len(a.files), len(entries))
	}
	total := 0
	for _, e := range entries {
		want, err := os.ReadFile("static/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if a.files[e.Name()] == nil || !bytes.Equal(unzip(a.files[e.Name()]), want) {
			t.Errorf("%s is another one in the pack: go test ./agent/web -update", e.Name())
		}
		total += len(a.files[e.Name()])
	}
	if total > 100<<10 {
		t.Errorf("the page has %d bytes compressed, at most 100 KiB", total)
	}
}

func writePack(t *testing.T, entries []os.DirEntry) {
	t.Helper()
	var head, body bytes.Buffer
	for _, e := range entries {
		text, err := os.ReadFile("static/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		before := body.Len()
		z, _ := gzip.NewWriterLevel(&body, gzip.BestCompression)
		z.Write(text)
		if err := z.Close(); err != nil || strings.ContainsAny(e.Name(), " \n") {
			t.Fatal(e.Name(), err)
		}
		fmt.Fprintf(&head, "%s %d\n", e.Name(), body.Len()-before)
	}
	if err := os.WriteFile("static.pack", append(append(head.Bytes(), '\n'), body.Bytes()...), 0o644); err != nil {
		t.Fatal(err)
	}
}
