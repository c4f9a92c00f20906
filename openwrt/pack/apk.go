package pack

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"globalnet/openwrt/pack/deflate"
)

// Schemas of ADB files.
const (
	schemaPackage = "pckg"
	schemaIndex   = "indx"
)

// APK returns the package for apk, signed where key is not nil.
func (p Package) APK(key *SigningKey) ([]byte, error) {
	if err := p.checkAPK(); err != nil {
		return nil, fmt.Errorf("writing apk: %w", err)
	}
	db, contents := p.database()
	if len(db) > maxDatabase {
		return nil, errors.New("writing apk: too many files")
	}
	inner, err := appendSigned(nil, schemaPackage, db, key)
	if err != nil {
		return nil, err
	}
	z := p.packer().Stream()
	z.Write(inner)
	for _, c := range contents {
		// A large file is given as it is, for the packer to know it again.
		frame := appendBlock(nil, blockData, c.index[:], c.content)
		at := 4 + len(c.index)
		z.Write(frame[:at])
		z.Write(c.content)
		z.Write(frame[at+len(c.content):])
	}
	return deflated(z), nil
}

// checkAPK adds the files that an apk has besides.
func (p *Package) checkAPK() error {
	if err := p.check(); err != nil {
		return err
	}
	p.Files = append(p.Files, p.apkFiles()...)
	return p.check()
}

// APKName is the file name that apk looks for in a feed.
func (p *Package) APKName() string { return fmt.Sprintf("%s-%s.apk", p.Name, p.Version) }

// apkArch is the name of an architecture for apk.
func (p *Package) apkArch() string {
	if p.Arch == AllArches {
		return "noarch"
	}
	return p.Arch
}

// content is a file's bytes, and which of which folder it is, counted from one.
type content struct {
	index   [8]byte
	content []byte
}

// idSize is the length of the unique identity: the start of a SHA-256.
const idSize = 20

// database returns the metadata and, in their order, the contents.
func (p *Package) database() ([]byte, []content) {
	d := newDatabase()
	info, id := p.info(d)
	paths, contents := p.paths(d)
	scripts := d.object(
		null, // trigger
		null, // pre-install
		d.text(p.postInstall()),
		d.text(p.preDeinstall()),
		null, // post-deinstall
		null, // pre-upgrade
		d.text(p.postUpgrade()),
	)
	payload := d.finish(d.object(info, paths, scripts))
	// The identity is the digest of all this with zeros in its own place.
	sum := sha256.Sum256(payload)
	copy(payload[id:id+idSize], sum[:])
	return payload, contents
}

// info writes the package's fields; id is the place of the identity.
func (p *Package) info(d *database) (v value, id int) {
	hashes := d.blob(make([]byte, idSize))
	id = len(d.payload) - idSize
	size := max(p.size(), 1)
	return d.object(p.infoSlots(d, hashes, size, 0)...), id
}

// infoSlots are those of a package and of its entry in an index, which has the
// size of the file besides.
func (p *Package) infoSlots(d *database, hashes value, size, fileSize int64) []value {
	slots := []value{
		d.text(p.Name), d.text(p.Version), hashes, d.text(p.title()), d.text(p.apkArch()), d.text(p.License),
		d.text(p.Name), d.text(p.Maintainer), d.text(p.URL),
		null, // repository commit
		null, // build time
		d.integer(uint64(size)),
		null, // file size
		null, // provider priority
		d.depends(p.Depends),
	}
	if fileSize > 0 {
		slots[12] = d.integer(uint64(fileSize))
	}
	return slots
}

// depends writes names sorted by themselves; versions are not used here.
func (d *database) depends(names []string) value {
	names = slices.Clone(names)
	slices.Sort(names)
	var deps []value
	for _, n := range slices.Compact(names) {
		deps = append(deps, d.object(d.text(n)))
	}
	return d.object(deps...)
}

// paths writes the folders, the root first, and in each the files.
func (p *Package) paths(d *database) (value, []content) {
	var dirs []value
	var contents []content
	for i, dir := range append([]string{""}, folders(p.Files)...) {
		var files []value
		for _, f := range p.Files {
			if strings.TrimPrefix(path.Dir(f.Path), ".") != dir {
				continue
			}
			files = append(files, p.apkFile(d, f))
			if len(f.Content) > 0 {
				c := content{content: f.Content}
				binary.LittleEndian.PutUint32(c.index[:], uint32(i+1))
				binary.LittleEndian.PutUint32(c.index[4:], uint32(len(files)))
				contents = append(contents, c)
			}
		}
		dirs = append(dirs, d.object(d.text(dir), acl(d, 0o755), d.object(files...)))
	}
	return d.object(dirs...), contents
}

func (p *Package) apkFile(d *database, f File) value {
	name, mtime := d.text(path.Base(f.Path)), d.integer(uint64(p.Time.Unix()))
	if f.Link != "" {
		const symlink = 0xa000 // S_IFLNK
		target := d.blob(append(binary.LittleEndian.AppendUint16(nil, symlink), f.Link...))
		return d.object(name, acl(d, 0o777), d.integer(uint64(len(f.Link))), mtime, null, target)
	}
	sum := sha256.Sum256(f.Content)
	return d.object(name, acl(d, f.Mode), d.integer(uint64(len(f.Content))), mtime, d.blob(sum[:]))
}

func acl(d *database, mode uint32) value {
	return d.object(d.integer(uint64(mode)), d.text("root"), d.text("root"))
}

// appendSigned appends the header of a file of that schema, the database, and
// its signature.
func appendSigned(dst []byte, schema string, db []byte, key *SigningKey) ([]byte, error) {
	dst = append(append(dst, "ADB."...), schema...)
	dst = appendBlock(dst, blockADB, db)
	if key == nil {
		return dst, nil
	}
	sig, err := key.sign(schema, db)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return appendBlock(dst, blockSig, sig), nil
}

// deflated is the file as one raw deflate stream, which every build of apk reads.
func deflated(z *deflate.Stream) []byte { return append([]byte("ADBd"), z.Raw()...) }
