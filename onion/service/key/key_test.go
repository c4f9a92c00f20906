package key

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"globalnet/internal/identity"
)

func service(t testing.TB) *identity.Identity {
	t.Helper()
	i, err := identity.FromSeed(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestAddress(t *testing.T) {
	id := service(t).NodeID()
	for _, text := range []string{id.String(), Host(id), strings.ToUpper(Host(id)), Host(id) + "."} {
		if got, err := ParseAddress(text); err != nil || got != id {
			t.Errorf("%s read as %v, %v", text, got, err)
		}
	}
	for name, text := range map[string]string{
		"empty": "", "zone alone": Zone, "other zone": id.String() + ".onion", "subdomain": "www." + Host(id),
		"cut": Host(id)[1:], "no point between": id.String() + "gnet.alt",
		"small order":   Host(identity.NodeID{}), // 0 is a point of order 4
		"not on curve":  Host(identity.NodeID{2}),
		"with torsion":  Host(torsion(t)),
		"two addresses": id.String() + "." + Host(id),
	} {
		if got, err := ParseAddress(text); err == nil || !got.IsZero() {
			t.Errorf("%s: read as %v, %v", name, got, err)
		}
	}
}

// torsion returns a key that is a point outside of the prime-order group: about
// seven of eight points are.
func torsion(t *testing.T) identity.NodeID {
	for n := byte(3); n < 200; n++ {
		id := identity.NodeID{n}
		if _, err := Blinded(id, Place{}); err != nil && strings.Contains(err.Error(), "prime-order") {
			return id
		}
	}
	t.Fatal("no point with torsion found")
	return identity.NodeID{}
}

func TestLink(t *testing.T) {
	id := service(t).NodeID()
	for _, l := range []Link{{id, ""}, {id, "cheesy"}, {id, "Käse & Brot = 100%"}} {
		got, err := ParseLink(l.String())
		if err != nil || got != l {
			t.Errorf("%s read as %+v, %v", l, got, err)
		}
	}
	if want := "magnet:?xt=urn:gnet:" + id.String() + "&dn=my+site"; (Link{id, "my site"}).String() != want {
		t.Errorf("%s, want %s", Link{id, "my site"}, want)
	}
	a := id.String()
	for text, want := range map[string]string{
		"MAGNET:?dn=x&XT=1&xt=URN:GNET:" + strings.ToUpper(a): "x",
		"magnet:?xt=urn:btih:0123&xt=urn:gnet:" + a:           "",
		"magnet:?tr=udp://x&xt=urn:gnet:" + Host(id):          "",
	} {
		if got, err := ParseLink(text); err != nil || got != (Link{id, want}) {
			t.Errorf("%s read as %+v, %v", text, got, err)
		}
	}
	for name, text := range map[string]string{
		"no scheme": a, "http": "http:?xt=urn:gnet:" + a, "no topic": "magnet:?dn=x",
		"two services":     "magnet:?xt=urn:gnet:" + a + "&xt=urn:gnet:" + a,
		"mistyped":         "magnet:?xt=urn:gnet:b" + a[1:],
		"escape in a name": "magnet:?dn=%1b[2J&xt=urn:gnet:" + a,
		"line break":       "magnet:?dn=a%0ab&xt=urn:gnet:" + a,
		"long name":        "magnet:?dn=" + strings.Repeat("a", MaxName+1) + "&xt=urn:gnet:" + a,
		"not UTF-8":        "magnet:?dn=%ff&xt=urn:gnet:" + a,
		"bad escape":       "magnet:?dn=%zz&xt=urn:gnet:" + a,
		"long":             "magnet:?xt=urn:gnet:" + a + "&x=" + strings.Repeat("a", maxLink),
	} {
		if got, err := ParseLink(text); err == nil || got != (Link{}) {
			t.Errorf("%s: read as %+v, %v", name, got, err)
		}
	}
}

func TestPeriods(t *testing.T) {
	id := service(t).NodeID()
	for _, start := range []uint64{1, 2, 20000} {
		from := PeriodStart(id, start)
		for at, want := range map[time.Time]uint64{
			from.Add(-time.Second): start - 1, from: start, from.Add(Length - time.Second): start, from.Add(Length): start + 1,
		} {
			if got := PeriodAt(id, at); got != want {
				t.Errorf("period at %v is %d, want %d", at, got, want)
			}
		}
	}
	from := PeriodStart(id, 100)
	if got := fmt.Sprint(Periods(id, from.Add(time.Hour)), Periods(id, from.Add(20*time.Hour)), PublishPeriods(id, from)); got != "[100 99 101] [100 101 99] [100 101]" {
		t.Error(got)
	}
	if got := Periods(id, time.Unix(-5, 0)); got[0] != 0 || len(got) != 2 {
		t.Errorf("before 1970: %v", got)
	}
	other := identity.NodeID{1}
	if PeriodStart(id, 5).Equal(PeriodStart(other, 5)) {
		t.Error("the periods of two services begin together")
	}
}

// Whoever publishes and looks with clocks that differ by less than a day meets.
func TestClocksMayDifferByADay(t *testing.T) {
	id := service(t).NodeID()
	now := time.Unix(1_800_000_000, 0)
	for skew := -Length + time.Second; skew < Length; skew += 37 * time.Minute {
		for at := now; at.Before(now.Add(Length)); at = at.Add(3 * time.Hour) {
			published := PublishPeriods(id, at)
			found := false
			for _, p := range Periods(id, at.Add(skew)) {
				found = found || p == published[0] || p == published[1]
			}
			if !found {
				t.Fatalf("with a clock off by %v a client finds nothing", skew)
			}
		}
	}
}

func TestPlaces(t *testing.T) {
	i := service(t)
	seen := map[string]Place{}
	for _, p := range []Place{{5, 0, 0}, {5, 1, 0}, {5, 0, 1}, {6, 0, 0}} {
		public, err := Blinded(i.NodeID(), p)
		if err != nil {
			t.Fatal(err)
		}
		signer := Signer(i, p)
		if !signer.Public().Equal(public) || !ed25519.Verify(public, []byte("m"), signer.Sign([]byte("m"))) {
			t.Errorf("%+v: the signer has another key", p)
		}
		if other, ok := seen[string(public)]; ok {
			t.Errorf("%+v and %+v have one key", p, other)
		}
		seen[string(public)] = p
	}
	if CredentialFor(i.NodeID(), 5) == CredentialFor(i.NodeID(), 6) || CredentialFor(i.NodeID(), 5) == CredentialFor(identity.NodeID{1}, 5) {
		t.Error("one credential for two")
	}
}

func TestInstance(t *testing.T) {
	node, id := service(t), identity.NodeID{1}
	other, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	a := Instance(node, id)
	if a != Instance(node, id) || a == Instance(node, identity.NodeID{2}) || a == Instance(other, id) {
		t.Errorf("instance %x is not of one node and one service", a)
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "services", "cheesy.key")
	first, err := LoadOrCreate(path)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := LoadOrCreate(path); err != nil || again.NodeID() != first.NodeID() {
		t.Errorf("%v, %v", again, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if i, err := Create(path); !errors.Is(err, fs.ErrExist) || i != nil {
		t.Errorf("made again: %v", err)
	}
	if i, err := identity.Load(path); err == nil {
		t.Errorf("a service's key was taken for the node's: %v", i)
	}
	node := filepath.Join(dir, "identity.key")
	if _, err := identity.Create(node); err != nil {
		t.Fatal(err)
	}
	if i, err := Load(node); err == nil || !strings.Contains(err.Error(), "globalnet-service-1") {
		t.Errorf("the node's key was taken for a service's: %v, %v", i, err)
	}
	client := filepath.Join(dir, "client.key")
	k, err := CreateClient(client)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := LoadClient(client); err != nil || again.Public() != k.Public() {
		t.Errorf("%v", err)
	}
	if _, err := CreateClient(client); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made again: %v", err)
	}
	if _, err := LoadClient(path); err == nil {
		t.Error("a service's key was taken for a client's")
	}
}

func TestExport(t *testing.T) {
	i := service(t)
	head := append([]byte{exportVersion, exportLogN, exportR, 1}, bytes.Repeat([]byte{9}, exportSalt)...)
	text, err := export(i, "correct horse", head)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Import(text, "correct horse"); err != nil || got.NodeID() != i.NodeID() {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := Import(append([]byte("\n"), text...), "correct horse"); err != nil {
		t.Errorf("with an empty line before: %v", err)
	}
	if _, err := Import(text, "correct house"); !errors.Is(err, ErrPassphrase) {
		t.Errorf("wrong passphrase: %v", err)
	}
	flipped := bytes.Replace(text, []byte("AQ4"), []byte("AQ8"), 1) // logN 15
	for name, bad := range map[string]struct{ text, want string }{
		"empty":        {"", "not an exported key"},
		"cut":          {string(text[:80]), "not an exported key"},
		"other block":  {strings.ReplaceAll(string(text), "SERVICE", "PRIVATE"), "not an exported key"},
		"more behind":  {string(text) + "x", "not an exported key"},
		"far too long": {string(text) + strings.Repeat("\n", maxExport), "too long"},
		"memory":       {string(flipped), "too much memory"},
	} {
		if got, err := Import([]byte(bad.text), "correct horse"); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := Export(i, ""); err == nil {
		t.Error("exported without a passphrase")
	}
	if a, err := Export(i, "x"); err != nil || bytes.Contains(text, a) {
		t.Errorf("%v", err)
	} else if got, err := Import(a, "x"); err != nil || got.NodeID() != i.NodeID() {
		t.Errorf("%v, %v", got, err)
	}
}

func TestClientKeys(t *testing.T) {
	k, err := NewClientKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewClientKey()
	if err != nil {
		t.Fatal(err)
	}
	text := k.Public().String()
	for _, s := range []string{text, strings.ToUpper(text)} {
		if got, err := ParseClient(s); err != nil || got != k.Public() {
			t.Errorf("%s read as %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", clientPrefix, text[1:], text + "a", text[:20] + "\n" + text[21:], "client-" + text[8:] + "a",
		service(t).NodeID().String(), text[:10] + flip(text[10:11]) + text[11:]} {
		if got, err := ParseClient(s); err == nil || got != (ClientPublic{}) {
			t.Errorf("%q read as %v, %v", s, got, err)
		}
	}
	a, b := k.Public(), other.Public()
	ab, err := k.Shared(b[:])
	if err != nil {
		t.Fatal(err)
	}
	ba, err := other.Shared(a[:])
	if err != nil || !bytes.Equal(ab, ba) {
		t.Errorf("%x and %x, %v", ab, ba, err)
	}
	if _, err := k.Shared(make([]byte, 32)); err == nil {
		t.Error("a secret shared with a point of small order")
	}
	secret := fmt.Sprintf("%x", k.key().Bytes())
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", k)
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %x %s", k, k, k, k, k), log.String()} {
		if strings.Contains(s, secret) || !strings.Contains(s, "[secret]") {
			t.Errorf("printed as %s", s)
		}
	}
}

func flip(s string) string {
	if s == "a" {
		return "b"
	}
	return "a"
}

func FuzzParse(f *testing.F) {
	f.Add(Link{service(f).NodeID(), "name"}.String())
	f.Add(ClientPublic{1}.String())
	f.Add(Host(service(f).NodeID()))
	f.Fuzz(func(t *testing.T, text string) {
		if l, err := ParseLink(text); err == nil {
			if got, err := ParseLink(l.String()); err != nil || got != l {
				t.Fatalf("%q written as %q: %+v, %v", text, l, got, err)
			}
		}
		if c, err := ParseClient(text); err == nil && !strings.EqualFold(c.String(), text) {
			t.Fatalf("%q written as %q", text, c)
		}
		if id, err := ParseAddress(text); err == nil && len(text) < 56 || err == nil && id.IsZero() {
			t.Fatalf("%q read as %v", text, id)
		}
	})
}

func FuzzImport(f *testing.F) {
	head := append([]byte{exportVersion, exportLogN, exportR, 1}, make([]byte, exportSalt)...)
	text, err := export(service(f), "x", head)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("-----BEGIN " + exportType + "-----\n\n-----END " + exportType + "-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if i, err := Import(text, "y"); err == nil {
			t.Fatalf("%q opened by another passphrase: %v", text, i)
		}
	})
}
