package ntor

import (
	"bytes"
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata anew")

func relay(t testing.TB) (*Server, [32]byte, PublicKey) {
	t.Helper()
	key, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	node := [32]byte{1, 2, 3}
	return NewServer(node, key), node, key.Public()
}

func say(s string) func([]byte) ([]byte, error) {
	return func([]byte) ([]byte, error) { return []byte(s), nil }
}

func TestHandshake(t *testing.T) {
	server, node, onion := relay(t)
	var asked []byte
	c, request, err := NewClient(node, onion, []byte("suite 2"))
	if err != nil {
		t.Fatal(err)
	}
	keys, reply, err := server.Reply(request, func(p []byte) ([]byte, error) {
		asked = bytes.Clone(p)
		return []byte("window 2048"), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got, said, err := c.Finish(reply)
	if err != nil {
		t.Fatal(err)
	}
	if got != keys || string(asked) != "suite 2" || string(said) != "window 2048" {
		t.Errorf("asked %q, said %q, same keys: %v", asked, said, got == keys)
	}
	if keys.Forward == keys.Backward || keys.Forward == [32]byte{} {
		t.Error("keys of the two directions are the same, or nothing")
	}
	if bytes.Contains(request, []byte("suite 2")) {
		t.Error("parameters in clear")
	}
}

func TestEveryFlippedByteIsNoticed(t *testing.T) {
	server, node, onion := relay(t)
	c, request, err := NewClient(node, onion, []byte("p"))
	if err != nil {
		t.Fatal(err)
	}
	step := 37 // the KEM key and ciphertext are long; their ends and every 37th byte will do
	for i := 0; i < len(request); i++ {
		if i > 80 && i < len(request)-40 && i%step != 0 {
			continue
		}
		bad := bytes.Clone(request)
		bad[i] ^= 1
		if _, _, err := server.Reply(bad, say("")); !errors.Is(err, ErrForged) && !errors.Is(err, ErrUnknownKey) {
			t.Fatalf("request with byte %d changed: %v", i, err)
		}
	}
	_, reply, err := server.Reply(request, say("fine"))
	if err != nil {
		t.Fatal("the changed requests spoiled the true one:", err)
	}
	for i := 0; i < len(reply); i++ {
		if i > 70 && i < len(reply)-80 && i%step != 0 {
			continue
		}
		bad := bytes.Clone(reply)
		bad[i] ^= 0x80
		keys, _, err := c.Finish(bad)
		// X25519 ignores the top bit of a key, the transcript does not.
		if !errors.Is(err, ErrForged) || keys != (Keys{}) {
			t.Fatalf("reply with byte %d changed: %v", i, err)
		}
	}
	if _, _, err := c.Finish(reply); err != nil {
		t.Fatal(err)
	}
}

func TestRefused(t *testing.T) {
	server, node, onion := relay(t)
	_, request, _ := NewClient(node, onion, nil)
	other, _, otherKey := relay(t)
	smallOrder := bytes.Clone(request)
	clear(smallOrder[keyIDSize : keyIDSize+32])
	wrongNode, _, _ := NewClient([32]byte{9}, onion, nil)
	tests := []struct {
		name    string
		server  *Server
		request []byte
		want    error
	}{
		{"empty", server, nil, ErrFormat},
		{"cut", server, request[:requestFixed-1], ErrFormat},
		{"long", server, append(bytes.Clone(request), make([]byte, MaxRequestParams+1)...), ErrFormat},
		{"another relay's key", other, request, ErrUnknownKey},
		{"another relay's NodeID", server, wrongNode.request, ErrForged},
		{"point of small order", server, smallOrder, ErrForged},
	}
	for _, tt := range tests {
		if _, _, err := tt.server.Reply(tt.request, say("")); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	no := errors.New("no")
	if _, _, err := server.Reply(request, func([]byte) ([]byte, error) { return nil, no }); err != no {
		t.Errorf("refused by the relay: %v", err)
	}
	if _, _, err := NewClient(node, PublicKey{}, nil); err == nil {
		t.Error("an onion key of small order")
	}
	if _, _, err := NewClient(node, otherKey, make([]byte, MaxRequestParams+1)); !errors.Is(err, ErrFormat) {
		t.Errorf("too many parameters: %v", err)
	}
	c, _, _ := NewClient(node, onion, nil)
	for _, n := range []int{0, replyFixed - 1, replyFixed + MaxReplyParams + 1} {
		if _, _, err := c.Finish(make([]byte, n)); !errors.Is(err, ErrFormat) {
			t.Errorf("reply of %d bytes: %v", n, err)
		}
	}
}

func TestReplay(t *testing.T) {
	server, node, onion := relay(t)
	_, request, _ := NewClient(node, onion, nil)
	if _, _, err := server.Reply(request, say("")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := server.Reply(request, say("")); !errors.Is(err, ErrReplayed) {
		t.Errorf("the same request again: %v", err)
	}
}

func TestReplayIsBounded(t *testing.T) {
	r := NewReplay(100)
	key := func(i int) (k [32]byte) {
		k[0], k[1] = byte(i), byte(i>>8)
		return k
	}
	for i := range 1000 {
		if !r.Add(key(i)) {
			t.Fatalf("%d is new", i)
		}
		for j := max(0, i-49); j <= i; j++ {
			if r.Add(key(j)) {
				t.Fatalf("%d forgotten after %d more", j, i-j)
			}
		}
		if n := len(r.new) + len(r.old); n > 100 {
			t.Fatalf("%d remembered", n)
		}
	}
}

func TestRotation(t *testing.T) {
	server, node, first := relay(t)
	second, _ := GenerateKey()
	third, _ := GenerateKey()
	for i, want := range []error{nil, nil, ErrUnknownKey} {
		_, request, _ := NewClient(node, first, nil)
		if _, _, err := server.Reply(request, say("")); !errors.Is(err, want) {
			t.Errorf("after %d rotations: %v", i, err)
		}
		server.Rotate([]PrivateKey{second, third, third}[i])
	}
	again, err := NewPrivateKey(second.Bytes())
	if err != nil || again.Public() != second.Public() {
		t.Errorf("stored and read: %v", err)
	}
	if s := fmt.Sprintf("%v %+v %#v", second, second, second); strings.Contains(s, hex.EncodeToString(second.Bytes())) {
		t.Error("the key prints itself")
	}
}

// vector is a handshake with everything random fixed. All is hex.
type vector struct {
	Node, OnionPrivate, ClientPrivate, ClientMLKEMSeed, RelayPrivate, RelayMLKEMRandom string
	RequestParams, ReplyParams                                                         string
	OnionPublic, Request, Reply, Forward, Backward                                     string
}

func TestVectors(t *testing.T) {
	const name = "testdata/vectors.json"
	if *update {
		writeVectors(t, name)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors) == 0 {
		t.Fatalf("%d vectors, %v", len(vectors), err)
	}
	for i, want := range vectors {
		got := want
		got.compute(t)
		if got != want {
			t.Errorf("vector %d:\n%+v\nwant\n%+v", i, got, want)
		}
	}
}

func writeVectors(t *testing.T, name string) {
	var vectors []vector
	for i, params := range []string{"", "01020800"} {
		seed := func(label string) string {
			sum := sha256.Sum256(fmt.Appendf(nil, "vector %d %s", i, label))
			return hex.EncodeToString(sum[:])
		}
		v := vector{Node: seed("node"), OnionPrivate: seed("b"), ClientPrivate: seed("x"), ClientMLKEMSeed: seed("d") + seed("z"),
			RelayPrivate: seed("y"), RelayMLKEMRandom: seed("m"), RequestParams: params, ReplyParams: params}
		v.compute(t)
		vectors = append(vectors, v)
	}
	text, err := json.MarshalIndent(vectors, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (v *vector) compute(t *testing.T) {
	must := func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	un := func(s string) []byte { return must(hex.DecodeString(s)) }
	private := func(s string) *ecdh.PrivateKey {
		k, err := ecdh.X25519().NewPrivateKey(un(s))
		must(nil, err)
		return k
	}
	b, err := NewPrivateKey(un(v.OnionPrivate))
	must(nil, err)
	dk, err := mlkem.NewDecapsulationKey768(un(v.ClientMLKEMSeed))
	must(nil, err)
	c, request, err := newClient([32]byte(un(v.Node)), b.Public(), un(v.RequestParams), private(v.ClientPrivate), dk)
	must(nil, err)
	server := NewServer([32]byte(un(v.Node)), b)
	keys, reply, err := server.reply(request,
		func([]byte) ([]byte, error) { return un(v.ReplyParams), nil },
		func(ek *mlkem.EncapsulationKey768) (*ecdh.PrivateKey, []byte, []byte, error) {
			shared, ct, err := mlkemtest.Encapsulate768(ek, un(v.RelayMLKEMRandom))
			return private(v.RelayPrivate), shared, ct, err
		})
	must(nil, err)
	if got, _, err := c.Finish(reply); err != nil || got != keys {
		t.Errorf("the client has other keys: %v", err)
	}
	public := b.Public()
	v.OnionPublic, v.Request, v.Reply = hex.EncodeToString(public[:]), hex.EncodeToString(request), hex.EncodeToString(reply)
	v.Forward, v.Backward = hex.EncodeToString(keys.Forward[:]), hex.EncodeToString(keys.Backward[:])
}

func FuzzReply(f *testing.F) {
	server, node, onion := relay(f)
	_, request, _ := NewClient(node, onion, []byte("params"))
	f.Add(request)
	f.Add(request[:100])
	f.Fuzz(func(t *testing.T, b []byte) {
		_, reply, err := server.Reply(b, say("x"))
		if err == nil && !bytes.Equal(b, request) {
			t.Fatal("a forged request was answered")
		}
		if (err == nil) != (reply != nil) {
			t.Fatalf("reply of %d bytes, %v", len(reply), err)
		}
	})
}

func FuzzFinish(f *testing.F) {
	server, node, onion := relay(f)
	c, request, _ := NewClient(node, onion, nil)
	_, reply, _ := server.Reply(request, say("x"))
	f.Add(reply)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, _, err := c.Finish(b); err == nil && !bytes.Equal(b, reply) {
			t.Fatal("a forged reply was taken")
		}
	})
}

func BenchmarkHandshake(b *testing.B) {
	server, node, onion := relay(b)
	for b.Loop() {
		c, request, err := NewClient(node, onion, nil)
		if err != nil {
			b.Fatal(err)
		}
		_, reply, err := server.Reply(request, say(""))
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := c.Finish(reply); err != nil {
			b.Fatal(err)
		}
	}
}

// The vector is of another implementation of HMAC.
func TestProof(t *testing.T) {
	node, x := [32]byte{0: 1, 31: 2}, [32]byte{0: 3, 31: 4}
	if got := hex.EncodeToString(proofOf("sixteen octets..", node, x)); got != "b4524efe7d292432e05a34660d4182d9" {
		t.Errorf("proof %s", got)
	}
	if bytes.Equal(proofOf("sixteen octets..", node, x), proofOf("sixteen octets..", x, node)) {
		t.Error("node and key may change places")
	}
}

func proofOf(secret string, node, x [32]byte) []byte {
	p := Proof([]byte(secret), node, x)
	return p[:]
}

func TestProvingClientKnowsItsKey(t *testing.T) {
	server, node, onion := relay(t)
	var told [32]byte
	c, request, err := NewClientProving(node, onion, func(x [32]byte) []byte {
		told = x
		return x[:MaxRequestParams]
	})
	if err != nil {
		t.Fatal(err)
	}
	seen, err := EphemeralOf(request)
	if err != nil || seen != told || c.Ephemeral() != told {
		t.Errorf("the relay sees %x, %v; params were made for %x", seen, err, told)
	}
	_, _, err = server.Reply(request, func(p []byte) ([]byte, error) {
		if !bytes.Equal(p, told[:MaxRequestParams]) {
			t.Errorf("params %x", p)
		}
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
