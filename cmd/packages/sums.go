package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"globalnet/board"
)

const sumsName = "SHA256SUMS"

// checksums lists every file of the output as sha256sum does, and signs the list
// for usign and signify, and for minisign.
func (o *options) checksums() error {
	var list bytes.Buffer
	err := filepath.WalkDir(o.out, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), sumsName) {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(o.out, path)
		fmt.Fprintf(&list, "%x  %s\n", sha256.Sum256(text), filepath.ToSlash(name))
		return err
	})
	if err != nil {
		return fmt.Errorf("adding up: %w", err)
	}
	files := map[string][]byte{sumsName: list.Bytes()}
	for _, signature := range []string{".sig", ".minisig"} {
		os.Remove(filepath.Join(o.out, sumsName+signature)) // of another key, or an earlier version
	}
	if o.keys.usign != nil {
		files[sumsName+".sig"] = o.keys.usign.Sign(list.Bytes())
		if files[sumsName+".minisig"], err = o.keys.usign.SignMinisign(list.Bytes(), project+" "+o.version); err != nil {
			return err
		}
	}
	return writeAll(o.out, files)
}

// bill is a bill of materials in CycloneDX, version 1.5, as far as a Go binary
// knows its own.
type bill struct {
	Format     string      `json:"bomFormat"`
	Spec       string      `json:"specVersion"`
	Version    int         `json:"version"`
	Metadata   metadata    `json:"metadata"`
	Components []component `json:"components"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PURL       string     `json:"purl,omitempty"`
	Hashes     []hash     `json:"hashes,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Alg     string `json:"alg"`
	Content string `json:"content"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// billsOfMaterials writes one for each binary that is in a package.
func (o *options) billsOfMaterials() error {
	done := make(map[string]bool)
	files := make(map[string][]byte)
	for _, a := range o.arches {
		if done[a.Binary] {
			continue
		}
		done[a.Binary] = true
		text, err := o.billOf(a)
		if err != nil {
			return fmt.Errorf("bill of materials: %w", err)
		}
		files[project+"-"+a.Binary+".cdx.json"] = text
	}
	dir := filepath.Join(o.out, "sbom")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return writeAll(dir, files)
}

func (o *options) billOf(a board.Arch) ([]byte, error) {
	path := filepath.Join(o.binaries, project+"-"+a.Binary)
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil, err
	}
	binary, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	b := bill{
		Format: "CycloneDX", Spec: "1.5", Version: 1,
		Metadata: metadata{
			Timestamp: o.time.Format(time.RFC3339),
			Component: component{
				Type: "application", Name: project, Version: o.version,
				Hashes: []hash{{"SHA-256", fmt.Sprintf("%x", sha256.Sum256(binary))}},
			},
		},
		Components: []component{{Type: "framework", Name: "go", Version: info.GoVersion, PURL: "pkg:generic/go@" + strings.TrimPrefix(info.GoVersion, "go")}},
	}
	for _, s := range info.Settings {
		b.Metadata.Component.Properties = append(b.Metadata.Component.Properties, property{"go:build:" + s.Key, s.Value})
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		c := component{Type: "library", Name: m.Path, Version: m.Version}
		if m.Version != "" {
			c.PURL = "pkg:golang/" + m.Path + "@" + m.Version
		}
		if m.Sum != "" {
			c.Properties = []property{{"go:sum", m.Sum}}
		}
		b.Components = append(b.Components, c)
	}
	text, err := json.MarshalIndent(b, "", "  ")
	return append(text, '\n'), err
}
