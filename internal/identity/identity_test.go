package identity

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// The keys are those of RFC 8032 section 7.1, tests 1 and 2. The same vectors
// are in docs/protocols/identity.md.
var vectors = []struct {
	seed, public, text, address, linkLocal, keyFile, signature string
}{
	{
		seed:      "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
		public:    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
		text:      "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkenon7ab",
		address:   "fd47:4e45:c9a9:336f:9249:d072:a2f4:d74b",
		linkLocal: "fe80::401d:555d:70c:d84c",
		keyFile:   "globalnet-identity-1 nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2Cqa+tT",
		signature: "b8e1ea4fe5bd84c62a34eab8d1607c2f440cda80618de47f34a1441d001d3cae1ff1a239ef23bdb37d0e4acd6c9012684ecd06a26ae039960079a5c2137d5f0a",
	},
	{
		seed:      "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
		public:    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
		text:      "hvabpq7iioevvevxbktu2g36xsojqlgpf3cjndgazvk7ckxumyge7yyb",
		address:   "fd47:4e45:cd25:60c8:21ea:e5a8:4c5:d407",
		linkLocal: "fe80::ebc6:3c73:a844:5e73",
		keyFile:   "globalnet-identity-1 TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvtnt7Gz",
		signature: "6ed33e728c03392f970e49f81bee17afc2dc021bf788c4478ff0902ac9cad40cdad99b9c0d290545de3c3fa48ba0ccb58341aef9aaae47852a512633d487350d",
	},
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVectors(t *testing.T) {
	document, err := os.ReadFile("../../docs/protocols/identity.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		i, err := FromSeed(unhex(t, v.seed))
		if err != nil {
			t.Fatal(err)
		}
		id := i.NodeID()
		sig := i.Sign("globalnet example", []byte("message"))
		for name, pair := range map[string][2]string{
			"public":     {hex.EncodeToString(id[:]), v.public},
			"text":       {id.String(), v.text},
			"short":      {id.Short(), v.text[:8]},
			"address":    {id.Address().String(), v.address},
			"link-local": {id.LinkLocal().String(), v.linkLocal},
			"key file":   {string(nodeKey.text(i.Seed())), v.keyFile + "\n"},
			"signature":  {hex.EncodeToString(sig), v.signature},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s is %s, want %s", name, pair[0], pair[1])
			}
			if name != "short" && !strings.Contains(string(document), strings.TrimSpace(pair[1])) {
				t.Errorf("%s is not in docs/protocols/identity.md: %s", name, pair[1])
			}
		}
		for _, text := range []string{v.text, strings.ToUpper(v.text)} {
			if got, err := ParseNodeID(text); err != nil || got != id {
				t.Errorf("%s read as %v, %v", text, got, err)
			}
		}
		if got, err := nodeKey.parse(v.keyFile); err != nil || !bytes.Equal(got, i.Seed()) {
			t.Errorf("key file read as %d bytes, %v", len(got), err)
		}
	}
}

func TestAddressesAreInTheirPrefixes(t *testing.T) {
	for n := range byte(100) {
		id := NodeID{n}
		if !MeshPrefix.Contains(id.Address()) {
			t.Errorf("address %v", id.Address())
		}
		if ll := id.LinkLocal(); !netip.MustParsePrefix("fe80::/64").Contains(ll) || ll.Zone() != "" {
			t.Errorf("link-local address %v", ll)
		}
	}
}

func TestParseNodeIDErrors(t *testing.T) {
	good := vectors[0].text
	id, _ := ParseNodeID(good)
	raw := append(id[:], 0, 0, 2)
	tests := []struct{ name, text, want string }{
		{"empty", "", "0 characters, not 56"},
		{"short", good[:55], "55 characters"},
		{"long", good + "a", "57 characters"},
		{"digit that base32 lacks", "1" + good[1:], "a-z, 2-7"},
		{"line break", good[:20] + "\n" + good[21:], "a-z, 2-7"},
		{"long in upper case", strings.Repeat("ı", 28), "a-z, 2-7"},
		{"one character mistyped", "a" + good[1:], "checksum"},
		{"two swapped", good[:9] + good[10:11] + good[9:10] + good[11:], "checksum"},
		{"version", strings.ToLower(base32Text.EncodeToString(raw)), "version 2, want 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseNodeID(tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if !got.IsZero() {
				t.Errorf("an error, and yet the NodeID %v", got)
			}
		})
	}
}

func TestNodeIDInJSON(t *testing.T) {
	id, _ := ParseNodeID(vectors[0].text)
	text, err := json.Marshal(map[NodeID]NodeID{id: id})
	if want := `{"` + vectors[0].text + `":"` + vectors[0].text + `"}`; err != nil || string(text) != want {
		t.Fatalf("%s, %v", text, err)
	}
	var got map[NodeID]NodeID
	if err := json.Unmarshal(text, &got); err != nil || got[id] != id {
		t.Errorf("%v, %v", got, err)
	}
	if err := json.Unmarshal([]byte(`"x"`), &id); err == nil {
		t.Error("a wrong NodeID was read")
	}
}

func TestVerify(t *testing.T) {
	i, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	id, message := i.NodeID(), []byte("message")
	sig := i.Sign("purpose", message)
	flipped := append([]byte(nil), sig...)
	flipped[5] ^= 1
	other, _ := FromSeed(make([]byte, 32))
	tests := []struct {
		name    string
		id      NodeID
		context string
		message string
		sig     []byte
		want    bool
	}{
		{"as signed", id, "purpose", "message", sig, true},
		{"other context", id, "purposes", "message", sig, false},
		{"border moved into the message", id, "purpos", "emessage", sig, false},
		{"other message", id, "purpose", "messagf", sig, false},
		{"other node", other.NodeID(), "purpose", "message", sig, false},
		{"bit flipped", id, "purpose", "message", flipped, false},
		{"cut", id, "purpose", "message", sig[:63], false},
		{"none", id, "purpose", "message", nil, false},
		{"no node", NodeID{}, "purpose", "message", sig, false},
	}
	for _, tt := range tests {
		if got := tt.id.Verify(tt.context, []byte(tt.message), tt.sig); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func FuzzParseNodeID(f *testing.F) {
	f.Add(vectors[0].text)
	f.Add(strings.ToUpper(vectors[1].text))
	f.Add(strings.Repeat("a", 56))
	f.Add(strings.Repeat("ı", 28))
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseNodeID(text)
		if err != nil {
			return
		}
		if id.String() != strings.ToLower(text) {
			t.Fatalf("%q is written %q", text, id)
		}
	})
}
