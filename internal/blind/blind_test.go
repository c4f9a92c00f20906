package blind

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// The vectors are the output of python3-stem 1.8.1 (its functions _blinded_pubkey
// and _blinded_sign) for the seeds SHA-256("blinding vector <i>") and period length 1440.
var vectors = []struct {
	seed      string
	period    uint64
	factor    string
	public    string
	signature [2]string
}{
	{"a6e9c5255e5f5ae064feb4971a0e76ed1b7aeabfebdf856e3d757e0d1658d942",
		16903, "cd25db5e9e63f269221be1fabfa97b8e93467af9414d95216e6ac5c759bb4c19",
		"3d68b1ebf7f8a7385a428b3eb3dc1ddd8154408e04966932dc16af9fb54b1bcd",
		[2]string{"f588a19f2bc9c361520348ed4ee12cf8b0b4c86f3f25d8907b1da8d6279c706d", "457db5f11062c78b3d104a46a415f272f4d83e593e2c803ac7d09ec18718dd09"}},
	{"808a6b6d484590720a06f8a228da85a19a251f977f9d751e9f3ec8c03aa26f75",
		16904, "aba1609166829ab62793a38b4d76df228658ba00ed65da334aa5c6923f8bc62f",
		"5ccd6c1fb4e83b77eacf4dd08e0dfd59b9aa45a4801dfd1fe71ee69ec3632902",
		[2]string{"64db6e030e5881542ee817282cc2b56b10413ec4bbf23d5d751be39c579d7f27", "b2696c6c65b95b4fd923c6424d0cea909b962f58200ab7586a917c0df7438f08"}},
	{"08575433a812a22308d525a37c1e458455992445d9c344011099a1ee7df02a14",
		16905, "2672591dc6c413358569ae86ff55b786a7ce0b9fb00d158aad114e0878b36029",
		"7c5a3c269fc95188a9b0da8e15abb6553719c562e86933428819b279cd999a18",
		[2]string{"895338d39e73ef953655b8be8c58f2caa50259652a40aaff544683fecc08f4d0", "e27d72a6757e0a3d0d345fa5b3e83ff9d4cbb596b4e89f159ad6a8b1ed09fb06"}},
	{"4680f1c41941e35552c3f597335b87b8466046d3d6cfabe07ea63b20c72177ad",
		16906, "6f58f065c3d6dc732656e8e71272a2a5efb6c5b3defbddb023b6d55b013c381c",
		"67ecd67339d02680ce339672fe1e026e6e45483f3469b0a37a071d26364fd44e",
		[2]string{"c3a8cf86f50db86f14016daf332575557bb7a0d4f74867f8bbef1d81b5e57810", "2070af937945f92e3f2894ee2b049cecf74fd655e39db51b766da6e921c6cb03"}},
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
	for i, v := range vectors {
		private := ed25519.NewKeyFromSeed(unhex(t, v.seed))
		public := private.Public().(ed25519.PublicKey)
		f := PeriodFactor(public, nil, v.period, 1440)
		if hex.EncodeToString(f[:]) != v.factor {
			t.Errorf("vector %d: factor %x, want %s", i, f, v.factor)
		}
		got, err := PublicKey(public, f)
		if err != nil || hex.EncodeToString(got) != v.public {
			t.Errorf("vector %d: public key %x, %v, want %s", i, got, err, v.public)
		}
		k := NewPrivateKey(private, f)
		if !k.Public().Equal(got) {
			t.Errorf("vector %d: the private half has another public key", i)
		}
		message := fmt.Appendf(nil, "message %d", i)
		sig := k.Sign(message)
		if hex.EncodeToString(sig) != v.signature[0]+v.signature[1] {
			t.Errorf("vector %d: signature %x", i, sig)
		}
		if !ed25519.Verify(got, message, sig) {
			t.Errorf("vector %d: crypto/ed25519 refuses the signature", i)
		}
	}
}

func TestPeriodsAndSecretsSeparate(t *testing.T) {
	public := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
	seen := map[Factor]bool{}
	for _, f := range []Factor{
		PeriodFactor(public, nil, 1, 1440), PeriodFactor(public, nil, 2, 1440),
		PeriodFactor(public, nil, 1, 1441), PeriodFactor(public, []byte("x"), 1, 1440),
	} {
		if seen[f] {
			t.Errorf("factor %x twice", f)
		}
		seen[f] = true
	}
}

func TestBadKeysAreRefused(t *testing.T) {
	zeros := strings.Repeat("00", 30)
	for name, key := range map[string]string{
		"identity":       "01" + zeros + "00",
		"order 2":        "ec" + strings.Repeat("ff", 30) + "7f",
		"order 4":        "00" + zeros + "00",
		"order 8":        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"not canonical":  "ee" + strings.Repeat("ff", 30) + "7f", // y = p + 1
		"no point":       "02" + zeros + "00",
		"too short":      "0102",
		"negative zero":  "01" + zeros + "80",
		"empty":          "",
		"all bits":       strings.Repeat("ff", 32),
		"order 4, other": "00" + zeros + "80",
	} {
		raw := unhex(t, key)
		if Check(raw) == nil {
			t.Errorf("%s: passed as a key", name)
		}
		if _, err := PublicKey(raw, Factor{1}); err == nil {
			t.Errorf("%s: blinded", name)
		}
	}
}

// A key with a torsion component signs like any other, but is not to be blinded.
func TestTorsionIsRefused(t *testing.T) {
	public := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
	p, err := point(public)
	if err != nil || !torsionFree(p) {
		t.Fatalf("an honest key is refused: %v", err)
	}
	torsion, err := p.SetBytes(unhex(t, "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"))
	if err != nil {
		t.Fatal(err)
	}
	q, _ := point(public)
	mixed := q.Add(q, torsion).Bytes()
	if err := Check(mixed); err != nil {
		t.Errorf("checking: %v", err)
	}
	if _, err := PublicKey(mixed, Factor{1}); err == nil {
		t.Error("blinded a key with a torsion component")
	}
}

func TestPrivateKeyHidesItself(t *testing.T) {
	k := NewPrivateKey(ed25519.NewKeyFromSeed(make([]byte, 32)), Factor{7})
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, k); s != "[secret]" {
			t.Errorf("%s prints %q", format, s)
		}
	}
}
