package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"globalnet/internal/blind"
)

func TestLoadOrCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "identity.key")
	first, err := LoadOrCreate(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadOrCreate(path)
	if err != nil || again.NodeID() != first.NodeID() {
		t.Errorf("the second start has another identity: %v, %v", again, err)
	}
	for name, want := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700 | fs.ModeDir} {
		if info, err := os.Lstat(name); err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("files beside the key: %v, %v", entries, err)
	}
}

// Of processes that start at once, one makes the key and all have it.
func TestLoadOrCreateTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "identity.key")
	ids := make(chan NodeID)
	for range 8 {
		go func() {
			i, err := LoadOrCreate(path)
			if err != nil {
				t.Error(err)
				i = &Identity{}
			}
			ids <- i.NodeID()
		}()
	}
	first := <-ids
	for range 7 {
		if id := <-ids; id != first {
			t.Errorf("two identities, %v and %v", id, first)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	good := vectors[0].keyFile + "\n"
	seed := unhex(t, vectors[0].seed)
	encode := func(raw []byte) string { return nodeKey.Header + " " + base64.StdEncoding.EncodeToString(raw) + "\n" }
	tests := []struct {
		name, text string
		mode       fs.FileMode
		want       string
	}{
		{"read by the group", good, 0o640, "mode 0640"},
		{"read by others", good, 0o604, "mode 0604"},
		{"written by others", good, 0o602, "mode 0602"},
		{"empty", "", 0o600, "damaged (does not start with"},
		{"cut", good[:40], 0o600, "damaged"},
		{"something else", "-----BEGIN PRIVATE KEY-----\n", 0o600, "does not start with"},
		{"not base64", nodeKey.Header + " !!!\n", 0o600, "not base64"},
		{"space inside", nodeKey.Header + "  " + good[len(nodeKey.Header)+1:], 0o600, "not base64"},
		{"bit flipped", strings.Replace(good, "nWGx", "nWGy", 1), 0o600, "wrong checksum"},
		{"no checksum", encode(seed), 0o600, "32 bytes, want 36"},
		{"wrong checksum", encode(append(seed, 1, 2, 3, 4)), 0o600, "wrong checksum"},
		{"zeros, as a power cut leaves", strings.Repeat("\x00", 75), 0o600, "does not start"},
		{"far too long", good + strings.Repeat("x", 1<<20), 0o600, "damaged"},
		{"second line", good + good, 0o600, "not base64"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "identity.key")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			if _, err := LoadOrCreate(path); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want %q and the path", err, tt.want)
			}
			if text, err := os.ReadFile(path); err != nil || string(text) != tt.text {
				t.Errorf("the file was changed: %q, %v", text, err)
			}
		})
	}
}

func TestLoadRefusesOtherThings(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	if _, err := Create(target); err != nil {
		t.Fatal(err)
	}
	link, dangling, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "dangling"), filepath.Join(dir, "fifo")
	for _, err := range []error{os.Symlink(target, link), os.Symlink("nowhere", dangling), syscall.Mkfifo(fifo, 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		link: "is a symbolic link", dangling: "is a symbolic link", fifo: "not a plain file", dir: "not a plain file",
	} {
		if _, err := LoadOrCreate(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", filepath.Base(path), err, want)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a key was written through the dangling link")
	}
}

func TestCreateReplacesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "identity.key")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v, want fs.ErrExist", err)
	}
	if text, _ := os.ReadFile(path); string(text) != "precious" {
		t.Errorf("replaced by %q", text)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

// Each way alone must place a whole file with its mode, and replace nothing.
func TestPlace(t *testing.T) {
	impossible := func(string, string) error { return syscall.ENOSYS }
	for n, way := range ways {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			dir := t.TempDir()
			from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
			if err := os.WriteFile(from, []byte("key"), 0o600); err != nil {
				t.Fatal(err)
			}
			chain := []func(string, string) error{impossible, way}
			if err := place(from, to, chain); err != nil {
				t.Skip("this file system cannot:", err)
			}
			info, err := os.Stat(to)
			if text, readErr := os.ReadFile(to); err != nil || readErr != nil || string(text) != "key" || info.Mode() != 0o600 {
				t.Errorf("%q, %v, %v, %v", text, info.Mode(), err, readErr)
			}
			os.Remove(from) // a link is the same file as to
			if err := os.WriteFile(from, []byte("other"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := place(from, to, append(chain, impossible)); !errors.Is(err, fs.ErrExist) {
				t.Errorf("a second time: %v", err)
			}
			if text, _ := os.ReadFile(to); string(text) != "key" {
				t.Errorf("replaced by %q", text)
			}
		})
	}
	if err := place("a", "b", []func(string, string) error{impossible, impossible}); !errors.Is(err, syscall.ENOSYS) {
		t.Errorf("no way: %v", err)
	}
}

func TestKeyIsNeverPrinted(t *testing.T) {
	seed := unhex(t, vectors[0].seed)
	i, err := FromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, log := range []*slog.Logger{slog.New(slog.NewTextHandler(&out, nil)), slog.New(slog.NewJSONHandler(&out, nil))} {
		log.Info("m", "pointer", i, "value", *i, "struct", struct{ I *Identity }{i})
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb, i)
		fmt.Fprintf(&out, verb, *i)
		fmt.Fprintf(&out, verb, struct {
			I *Identity
			j *Identity
			v Identity
		}{i, i, *i})
	}
	text, err := json.Marshal(struct {
		I *Identity
		V Identity
	}{i, *i})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	for _, secret := range []string{
		hex.EncodeToString(seed)[:16], strings.ToUpper(hex.EncodeToString(seed))[:16],
		fmt.Sprint(seed)[1:20], fmt.Sprintf("%#v", seed)[7:30], base64.StdEncoding.EncodeToString(seed)[:16],
	} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q is in %s", secret, out.String())
		}
	}
	if !strings.Contains(out.String(), "identity 25njqamc") {
		t.Errorf("the identity is not named in %s", out.String())
	}
}

func TestFromSeedLength(t *testing.T) {
	for _, n := range []int{0, 31, 33, 64} {
		if _, err := FromSeed(make([]byte, n)); err == nil {
			t.Errorf("a seed of %d bytes was taken", n)
		}
	}
}

func TestCertificate(t *testing.T) {
	i, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := i.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	if id, err := NodeIDFromCertificates(cert.Certificate); err != nil || id != i.NodeID() {
		t.Errorf("%v, %v; want %v", id, err, i.NodeID())
	}
	parsed, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, clock := range []time.Time{time.Unix(1, 0), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if clock.Before(parsed.NotBefore) || clock.After(parsed.NotAfter) {
			t.Errorf("not valid on a router that believes in %v", clock)
		}
	}
	if parsed.Subject.String() != "CN=globalnet" {
		t.Errorf("the certificate says %q", parsed.Subject)
	}
}

func TestNodeIDFromCertificatesRefuses(t *testing.T) {
	i, _ := Generate()
	j, _ := Generate()
	good, err := i.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	der := good.Certificate[0]
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	foreign, err := x509.CreateCertificate(rand.Reader, template, template, i.private().Public(), j.private)
	if err != nil {
		// The standard library refuses to make it; change the key in place instead.
		foreign = bytes.Replace(der, i.id[:], j.id[:], 1)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecCert, err := x509.CreateCertificate(rand.Reader, template, template, ec.Public(), ec)
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][][]byte{
		"none": nil, "two": {der, der}, "empty": {{}}, "cut": {der[:len(der)-1]},
		"signed by another": {foreign}, "ecdsa": {ecCert}, "signature changed": {flipLast(der)},
	} {
		if id, err := NodeIDFromCertificates(raw); err == nil || !id.IsZero() {
			t.Errorf("%s: taken as %v", name, id)
		}
	}
}

func flipLast(der []byte) []byte {
	out := bytes.Clone(der)
	out[len(out)-1] ^= 1
	return out
}

// Two nodes prove their NodeIDs to each other by TLS 1.3, as signalling does.
func TestCertificateInTLS(t *testing.T) {
	a, _ := Generate()
	b, _ := Generate()
	config := func(i *Identity) *tls.Config {
		cert, err := i.Certificate()
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{
			Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13,
			ClientAuth: tls.RequireAnyClientCert, InsecureSkipVerify: true,
			Time: func() time.Time { return time.Unix(5, 0) }, // no clock battery
		}
	}
	left, right := net.Pipe()
	defer left.Close()
	defer right.Close()
	server, client := tls.Server(left, config(a)), tls.Client(right, config(b))
	done := make(chan error, 1)
	go func() { done <- server.HandshakeContext(t.Context()) }()
	if err := client.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, side := range []struct {
		conn *tls.Conn
		want NodeID
	}{{server, b.NodeID()}, {client, a.NodeID()}} {
		var raw [][]byte
		for _, c := range side.conn.ConnectionState().PeerCertificates {
			raw = append(raw, c.Raw)
		}
		if id, err := NodeIDFromCertificates(raw); err != nil || id != side.want {
			t.Errorf("%v, %v; want %v", id, err, side.want)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(vectors[0].keyFile)
	f.Add(vectors[1].keyFile + "\n")
	f.Add(nodeKey.Header + " ")
	f.Add(nodeKey.Header + " " + strings.Repeat("A", 48))
	f.Fuzz(func(t *testing.T, text string) {
		secret, err := nodeKey.parse(text)
		if err != nil {
			return
		}
		if got := string(nodeKey.text(secret)); got != strings.TrimSuffix(text, "\n")+"\n" {
			t.Fatalf("%q is written %q", text, got)
		}
		if i, err := FromSeed(secret); err != nil || !bytes.Equal(i.Seed(), secret) {
			t.Fatalf("seed of %d bytes: %v", len(secret), err)
		}
	})
}

func FuzzNodeIDFromCertificates(f *testing.F) {
	i, _ := FromSeed(make([]byte, 32))
	cert, err := i.Certificate()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(cert.Certificate[0])
	f.Fuzz(func(t *testing.T, der []byte) {
		if id, err := NodeIDFromCertificates([][]byte{der}); (err == nil) == id.IsZero() {
			t.Fatalf("%v, %v", id, err)
		}
	})
}

// A blinded key signs for what readers derive from the NodeID, and is not the node's.
func TestBlinded(t *testing.T) {
	id, err := FromSeed(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	node := id.NodeID()
	f := blind.PeriodFactor(node[:], []byte("x"), 0, 0)
	public, err := blind.PublicKey(node[:], f)
	if err != nil {
		t.Fatal(err)
	}
	k := id.Blinded(f)
	if !public.Equal(k.Public()) || bytes.Equal(public, node[:]) {
		t.Errorf("public key %x, want %x", k.Public(), public)
	}
	if !ed25519.Verify(public, []byte("m"), k.Sign([]byte("m"))) {
		t.Error("the signature does not hold")
	}
}
