package pack

import (
	"archive/tar"
	"fmt"
	"io"
	"strings"
	"time"
)

// IPK returns the package for opkg: a gzipped tar of debian-binary, data.tar.gz
// and control.tar.gz. It is no ar archive, as that of Debian is.
func (p Package) IPK() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("writing ipk: %w", err)
	}
	data, err := p.tarball(p.Files)
	if err != nil {
		return nil, fmt.Errorf("writing data.tar.gz: %w", err)
	}
	size, err := p.tarSize()
	if err != nil {
		return nil, fmt.Errorf("writing control: %w", err)
	}
	control, err := p.tarball(p.control(size))
	if err != nil {
		return nil, fmt.Errorf("writing control.tar.gz: %w", err)
	}
	ipk, err := p.tarball([]File{
		{Path: "debian-binary", Mode: 0o644, Content: []byte("2.0\n")},
		{Path: "data.tar.gz", Mode: 0o644, Content: data},
		{Path: "control.tar.gz", Mode: 0o644, Content: control},
	})
	if err != nil {
		return nil, fmt.Errorf("writing ipk: %w", err)
	}
	return ipk, nil
}

// IPKName is the file name that opkg's feeds use.
func (p *Package) IPKName() string { return fmt.Sprintf("%s_%s_%s.ipk", p.Name, p.Version, p.Arch) }

// tarball returns the gzipped tar of files.
func (p *Package) tarball(files []File) ([]byte, error) {
	z := p.packer().Stream()
	if err := p.writeTar(z, files); err != nil {
		return nil, err
	}
	return z.Gzip(), nil
}

// tarSize is the size of the files' tar, which opkg wants to find free.
func (p *Package) tarSize() (int64, error) {
	size := new(sizer)
	err := p.writeTar(size, p.Files)
	return int64(*size), err
}

type sizer int64

func (s *sizer) Write(b []byte) (int, error) {
	*s += sizer(len(b))
	return len(b), nil
}

func (p *Package) writeTar(w io.Writer, files []File) error {
	t := tar.NewWriter(w)
	when := time.Unix(p.Time.Unix(), 0)
	folder := func(name string) error {
		return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: when, Format: tar.FormatGNU})
	}
	if err := folder("./"); err != nil {
		return err
	}
	for _, dir := range folders(files) {
		if err := folder("./" + dir + "/"); err != nil {
			return err
		}
	}
	for _, f := range files {
		h := &tar.Header{
			Typeflag: tar.TypeReg, Name: "./" + f.Path, Mode: int64(f.Mode), Size: int64(len(f.Content)),
			ModTime: when, Format: tar.FormatGNU,
		}
		if f.Link != "" {
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f.Link, 0o777
		}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(f.Content); err != nil {
			return err
		}
	}
	return t.Close()
}

// control returns the files of control.tar.gz.
func (p *Package) control(size int64) []File {
	files := []File{{Path: "control", Mode: 0o644, Content: []byte(p.fields(size) + p.descriptionField())}}
	if len(p.ConfFiles) > 0 {
		files = append(files, File{Path: "conffiles", Mode: 0o644, Content: []byte(strings.Join(p.ConfFiles, "\n") + "\n")})
	}
	files = append(files,
		File{Path: "postinst", Mode: 0o755, Content: []byte(opkgPostinst)},
		File{Path: "prerm", Mode: 0o755, Content: []byte(opkgPrerm)})
	if p.AfterInstall != "" {
		files = append(files, File{Path: "postinst-pkg", Mode: 0o755, Content: []byte(p.AfterInstall)})
	}
	if p.BeforeRemove != "" {
		files = append(files, File{Path: "prerm-pkg", Mode: 0o755, Content: []byte(p.BeforeRemove)})
	}
	return files
}

// fields are those of the control file but the description. Installed-Size is in
// bytes: opkg compares it with what is free.
func (p *Package) fields(size int64) string {
	var b strings.Builder
	for _, f := range []struct{ name, value string }{
		{"Package", p.Name},
		{"Version", p.Version},
		{"Depends", strings.Join(p.Depends, ", ")},
		{"Section", p.Section},
		{"License", p.License},
		{"SourceDateEpoch", fmt.Sprint(p.Time.Unix())},
		{"URL", p.URL},
		{"Maintainer", p.Maintainer},
		{"Architecture", p.Arch},
		{"Installed-Size", fmt.Sprint(size)},
	} {
		if f.value != "" {
			fmt.Fprintf(&b, "%s: %s\n", f.name, f.value)
		}
	}
	return b.String()
}

func (p *Package) descriptionField() string {
	text := strings.TrimRight(p.Description, "\n")
	return "Description: " + strings.ReplaceAll(text, "\n", "\n ") + "\n"
}
