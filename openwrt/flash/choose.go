package flash

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"globalnet/openwrt/archive"
	"globalnet/openwrt/guard"
	"globalnet/openwrt/usign"
)

// chosen is a package on the workstation and what is known of its origin.
type chosen struct {
	*archive.Archive
	file   string
	bytes  []byte
	apkKey []byte // the public key with which apk checks it; nil for none
	signed bool   // by a key that the user named
}

// choose finds the package for a router: the named file, or the newest in the
// folder that `make packages` fills.
func (o *Options) choose(r *Router) (*chosen, error) {
	if o.File != "" {
		return o.open(o.File, filepath.Dir(o.File))
	}
	for _, arch := range r.Arches {
		pattern := "globalnet_*.ipk"
		if r.Manager == "apk" {
			pattern = "globalnet-*.apk"
		}
		names, err := filepath.Glob(filepath.Join(o.Packages, arch, pattern))
		if err != nil {
			return nil, err
		}
		var best *chosen
		for _, name := range names {
			c, err := o.open(name, o.Packages)
			if err != nil {
				return nil, err
			}
			if best == nil || archive.CompareVersions(c.Version, best.Version) > 0 {
				best = c
			}
		}
		if best != nil {
			return best, nil
		}
	}
	return nil, &Failure{
		Kind: Refused, Err: fmt.Errorf("there is no package for %s (%s) in %s", strings.Join(r.Arches, ", "), r.Manager, o.Packages),
		Advice: "`make packages ARCH=" + r.Arches[0] + "` makes it; --packages names another folder, --file one package.",
	}
}

// open reads a package and checks it against the checksums in root and the key of
// the user.
func (o *Options) open(name, root string) (*chosen, error) {
	info, err := os.Stat(name)
	if err == nil && info.Size() > archive.MaxSize {
		err = fmt.Errorf("%d bytes, at most %d", info.Size(), archive.MaxSize)
	}
	if err != nil {
		return nil, fmt.Errorf("reading package: %w", err)
	}
	c := &chosen{file: name}
	if c.bytes, err = os.ReadFile(name); err != nil {
		return nil, fmt.Errorf("reading package: %w", err)
	}
	if c.signed, err = o.check(name, root, c.bytes); err != nil {
		return nil, &Failure{Kind: Refused, Err: err, Advice: "Download or build it again; nothing of it was used."}
	}
	if c.Archive, err = archive.Read(bytes.NewReader(c.bytes), guard.Wanted); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if c.Name != "globalnet" {
		return nil, fmt.Errorf("%s is the package %q, not globalnet", name, c.Name)
	}
	if key, err := os.ReadFile(filepath.Join(root, "keys", "globalnet.pem")); err == nil && c.APK {
		c.apkKey = key
	}
	return c, nil
}

// check compares a file with the checksums beside it, if there are any, and with a
// signature, if the user named a key.
func (o *Options) check(name, root string, file []byte) (signed bool, err error) {
	if o.PublicKey == nil {
		return usign.CheckFile(name, root, file)
	}
	return usign.CheckFile(name, root, file, o.PublicKey)
}
