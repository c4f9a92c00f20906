package chacha

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"

	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// count returns the bytes first, first+1, …
func count(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

const sunscreen = "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."

// RFC 8439 sections 2.3.2, 2.4.2 and 2.8.2.
func TestRFC8439(t *testing.T) {
	key := loadKey(count(0, 32))
	block := make([]byte, 64)
	xorKeyStream(block, block, &key, unhex(t, "000000090000004a00000000"), 1)
	if got, want := hex.EncodeToString(block), "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4ed2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"; got != want {
		t.Errorf("block %s", got)
	}
	text := make([]byte, len(sunscreen))
	xorKeyStream(text, []byte(sunscreen), &key, unhex(t, "000000000000004a00000000"), 1)
	if got, want := hex.EncodeToString(text), "6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0bf91b65c5524733ab8f593dabcd62b3571639d624e65152ab8f530c359f0861d807ca0dbf500d6a6156a38e088a22b65e52bc514d16ccf806818ce91ab77937365af90bbf74a35be6b40b8eedf2785e42874d"; got != want {
		t.Errorf("text %s", got)
	}
	nonce, aad := append(unhex(t, "07000000"), count(0x40, 8)...), append(unhex(t, "50515253"), count(0xc0, 8)...)
	want := unhex(t, "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b6116"+
		"1ae10b594f09e26a7e902ecbd0600691")
	for name, a := range both(t, count(0x80, 32)) {
		got := a.Seal(nil, nonce, []byte(sunscreen), aad)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: sealed %x", name, got)
		}
		if plain, err := a.Open(nil, nonce, want, aad); err != nil || string(plain) != sunscreen {
			t.Errorf("%s: opened %q, %v", name, plain, err)
		}
	}
}

// both returns the implementation of this package and the one in use here, which
// may be another.
func both(t testing.TB, key []byte) map[string]cipher.AEAD {
	t.Helper()
	used, err := New(key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]cipher.AEAD{"fast": newFast(key), "used": used}
}

// authenticate is Poly1305 of this package.
func authenticate(key, m []byte) []byte {
	var p poly1305
	p.setKey(key)
	p.short(m)
	tag := p.sum()
	return tag[:]
}

// reference is Poly1305 as RFC 8439 section 2.5.1 writes it, in big numbers.
func reference(key, m []byte) []byte {
	little := func(b []byte) *big.Int {
		r := bytes.Clone(b)
		for i, j := 0, len(r)-1; i < j; i, j = i+1, j-1 {
			r[i], r[j] = r[j], r[i]
		}
		return new(big.Int).SetBytes(r)
	}
	clamped := bytes.Clone(key[:16])
	for _, i := range []int{3, 7, 11, 15} {
		clamped[i] &= 15
	}
	for _, i := range []int{4, 8, 12} {
		clamped[i] &= 252
	}
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 130), big.NewInt(5))
	sum, r := new(big.Int), little(clamped)
	for len(m) > 0 {
		n := min(16, len(m))
		sum.Add(sum, little(append(bytes.Clone(m[:n]), 1)))
		sum.Mul(sum, r).Mod(sum, p)
		m = m[n:]
	}
	sum.Add(sum, little(key[16:]))
	out := make([]byte, 40)
	sum.FillBytes(out)
	tag := make([]byte, 16)
	for i := range tag {
		tag[i] = out[len(out)-1-i]
	}
	return tag
}

func TestPoly1305Vectors(t *testing.T) {
	pad := func(s string, n int) string { return s + fmt.Sprintf("%0*d", 2*n-len(s), 0) }
	tests := []struct{ name, key, message, tag string }{
		{"section 2.5.2", "85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b", hex.EncodeToString([]byte("Cryptographic Forum Research Group")), "a8061dc1305136c6c22b8baf0c0127a9"},
		{"zero", pad("", 32), pad("", 64), pad("", 16)},
		{"A.3 #7: the sum is above 2^130 - 5", pad("02", 32), "ffffffffffffffffffffffffffffffff", pad("03", 16)},
		{"A.3 #8: the sum with the pad is above 2^128", pad("02", 16) + "ffffffffffffffffffffffffffffffff", pad("02", 16), pad("03", 16)},
		{"A.3 #9: a sum of 2^130 - 6", pad("02", 32), "fdffffffffffffffffffffffffffffff", "faffffffffffffffffffffffffffffff"},
		{"A.3 #10: a carry into the fifth limb", pad("01000000000000000400000000000000", 32), "e33594d7505e43b900000000000000003394d7505e4379cd01000000000000000000000000000000000000000000000001000000000000000000000000000000", "14000000000000005500000000000000"},
		{"A.3 #11", pad("01000000000000000400000000000000", 32), "e33594d7505e43b900000000000000003394d7505e4379cd010000000000000000000000000000000000000000000000", pad("13", 16)},
	}
	for _, tt := range tests {
		key, m := unhex(t, tt.key), unhex(t, tt.message)
		if got := hex.EncodeToString(authenticate(key, m)); got != tt.tag {
			t.Errorf("%s: %s", tt.name, got)
		}
		if got := hex.EncodeToString(reference(key, m)); got != tt.tag {
			t.Errorf("%s: the reference says %s", tt.name, got)
		}
	}
}

// Keys and messages of bytes that make limbs full, carries long and sums meet the
// modulus, against the reference.
func TestPoly1305Edges(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	edges := []byte{0, 1, 2, 3, 4, 5, 0x7f, 0x80, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff, 0xff, 0xff}
	for i := range 20000 {
		key, m := make([]byte, 32), make([]byte, rng.IntN(100))
		for _, b := range [][]byte{key, m} {
			fill := edges[rng.IntN(len(edges))]
			for j := range b {
				if b[j] = fill; rng.IntN(6) == 0 {
					b[j] = edges[rng.IntN(len(edges))]
				}
			}
		}
		if got, want := authenticate(key, m), reference(key, m); !bytes.Equal(got, want) {
			t.Fatalf("case %d: key %x, message %x: %x, want %x", i, key, m, got, want)
		}
	}
}

func TestSizes(t *testing.T) {
	key, nonce := count(7, 32), count(9, 12)
	theirs, err := chacha20poly1305.New(key)
	if err != nil {
		t.Fatal(err)
	}
	ours := newFast(key)
	for n := range 300 {
		plain := count(byte(n), n)
		for _, aad := range [][]byte{nil, count(1, n%40)} {
			want := theirs.Seal([]byte("head"), nonce, plain, aad)
			if got := ours.Seal([]byte("head"), nonce, plain, aad); !bytes.Equal(got, want) {
				t.Fatalf("%d bytes: %x, want %x", n, got, want)
			}
			got, err := ours.Open([]byte("head"), nonce, want[4:], aad)
			if err != nil || !bytes.Equal(got, append([]byte("head"), plain...)) {
				t.Fatalf("%d bytes: opened %x, %v", n, got, err)
			}
		}
	}
}

func TestChangedMessages(t *testing.T) {
	key, nonce, aad := count(1, 32), count(2, 12), count(3, 20)
	for name, a := range both(t, key) {
		sealed := a.Seal(nil, nonce, count(4, 70), aad)
		try := func(what string, nonce, sealed, aad []byte) {
			t.Helper()
			if plain, err := a.Open(nil, nonce, sealed, aad); err == nil || plain != nil {
				t.Errorf("%s: %s: opened", name, what)
			}
		}
		for i := range len(sealed) * 8 {
			bad := bytes.Clone(sealed)
			bad[i/8] ^= 1 << (i % 8)
			try(fmt.Sprintf("bit %d", i), nonce, bad, aad)
		}
		try("a byte less", nonce, sealed[:len(sealed)-1], aad)
		try("a byte more", nonce, append(bytes.Clone(sealed), 0), aad)
		try("nothing", nonce, nil, aad)
		try("other nonce", count(3, 12), sealed, aad)
		try("other additional data", nonce, sealed, count(4, 20))
		try("additional data moved into the message", nonce, append(bytes.Clone(aad[16:]), sealed...), aad[:16])
		try("all zero tag", nonce, append(bytes.Clone(sealed[:70]), make([]byte, 16)...), aad)
	}
}

func TestInPlace(t *testing.T) {
	key, nonce := count(1, 32), count(2, 12)
	for name, a := range both(t, key) {
		buf := make([]byte, 200)
		copy(buf, count(5, 184))
		want := a.Seal(nil, nonce, buf[:184], nil)
		got := a.Seal(buf[:0], nonce, buf[:184], nil)
		if !bytes.Equal(got, want) || &got[0] != &buf[0] {
			t.Errorf("%s: sealing in place differs", name)
		}
		plain, err := a.Open(got[:0], nonce, got, nil)
		if err != nil || !bytes.Equal(plain, count(5, 184)) || &plain[0] != &buf[0] {
			t.Errorf("%s: opening in place: %v", name, err)
		}
		for what, f := range map[string]func(){
			"sealing":       func() { a.Seal(buf[:1], nonce, buf[:50], nil) },
			"opening":       func() { a.Open(buf[:1], nonce, buf[:50], nil) },
			"a wrong nonce": func() { a.Seal(nil, nonce[:11], nil, nil) },
		} {
			if !panics(f) {
				t.Errorf("%s: %s does not panic", name, what)
			}
		}
	}
	if _, err := New(make([]byte, 31)); err == nil {
		t.Error("a short key")
	}
	if _, err := NewStream(make([]byte, 33)); err == nil {
		t.Error("a long key")
	}
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}

func TestStream(t *testing.T) {
	key, nonce := count(1, 32), count(2, 12)
	used, err := NewStream(key)
	if err != nil {
		t.Fatal(err)
	}
	fast := fastStream{loadKey(key)}
	for _, n := range []int{0, 1, 63, 64, 65, 232, 1320} {
		c, _ := chacha20.NewUnauthenticatedCipher(key, nonce)
		c.SetCounter(1)
		want, src := make([]byte, n), count(3, n)
		c.XORKeyStream(want, src)
		for name, xor := range map[string]func(dst, src, nonce []byte){"fast": fast.xor, "used": used.XOR} {
			spare := make([]byte, n, n+TagSize)
			tight := make([]byte, n)
			xor(spare, src, nonce)
			xor(tight[:n:n], src, nonce)
			xor(src, src, nonce)
			if !bytes.Equal(spare, want) || !bytes.Equal(tight, want) || !bytes.Equal(src, want) {
				t.Errorf("%s: %d bytes differ", name, n)
			}
			src = count(3, n)
		}
	}
	// The last block that 32 bits count.
	c, _ := chacha20.NewUnauthenticatedCipher(key, nonce)
	c.SetCounter(1<<32 - 1)
	want, got := make([]byte, 64), make([]byte, 64)
	c.XORKeyStream(want, want)
	xorKeyStream(got, got, &fast.key, nonce, 1<<32-1)
	if !bytes.Equal(got, want) {
		t.Error("the last block differs")
	}
}

func FuzzAgainstStandard(f *testing.F) {
	f.Add(count(0, 32), count(0, 12), []byte("message"), []byte("aad"), uint16(3))
	f.Add(bytes.Repeat([]byte{255}, 32), bytes.Repeat([]byte{255}, 12), bytes.Repeat([]byte{255}, 130), []byte(nil), uint16(900))
	f.Fuzz(func(t *testing.T, key, nonce, plain, aad []byte, flip uint16) {
		if len(key) != 32 || len(nonce) != 12 {
			return
		}
		theirs, err := chacha20poly1305.New(key)
		if err != nil {
			t.Fatal(err)
		}
		ours := newFast(key)
		want := theirs.Seal(nil, nonce, plain, aad)
		sealed := ours.Seal(nil, nonce, plain, aad)
		if !bytes.Equal(sealed, want) {
			t.Fatalf("sealed %x, want %x", sealed, want)
		}
		if got, err := ours.Open(nil, nonce, sealed, aad); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("opened %x, %v", got, err)
		}
		sealed[int(flip/8)%len(sealed)] ^= 1 << (flip % 8)
		if _, err := ours.Open(nil, nonce, sealed, aad); err == nil {
			t.Fatal("a changed message was opened")
		}
	})
}

func FuzzPoly1305(f *testing.F) {
	f.Add(bytes.Repeat([]byte{255}, 32), bytes.Repeat([]byte{255}, 50))
	f.Add(binary.LittleEndian.AppendUint64(make([]byte, 24), 5), []byte{})
	f.Fuzz(func(t *testing.T, key, m []byte) {
		if len(key) != 32 {
			return
		}
		if got, want := authenticate(key, m), reference(key, m); !bytes.Equal(got, want) {
			t.Fatalf("%x, want %x", got, want)
		}
	})
}

func BenchmarkSeal1344(b *testing.B) {
	key, nonce, buf := count(1, 32), count(2, 12), make([]byte, 1344, 1360)
	theirs, _ := chacha20poly1305.New(key)
	for name, a := range map[string]cipher.AEAD{"fast": newFast(key), "standard": theirs} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(1344)
			for b.Loop() {
				a.Seal(buf[:0], nonce, buf[:1344], nil)
			}
		})
	}
}
