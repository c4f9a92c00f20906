package ntor

import (
	"bytes"
	"errors"
	"testing"
)

func TestExchange(t *testing.T) {
	key, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	context := [32]byte{7}
	params := bytes.Repeat([]byte{5}, MaxExchangeParams)
	c, request, err := NewExchange(context, key.Public(), params)
	if err != nil {
		t.Fatal(err)
	}
	if x, err := EphemeralOf(request); err != nil || x != c.Ephemeral() {
		t.Errorf("ephemeral key %x, %v", x, err)
	}
	var asked []byte
	hear := func(p []byte) ([]byte, error) { asked = bytes.Clone(p); return nil, nil }
	keys, reply, err := Answer(context, key, request, hear)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := c.Finish(reply)
	if err != nil || got != keys || !bytes.Equal(asked, params) {
		t.Errorf("%v; asked %d bytes; same keys: %v", err, len(asked), got == keys)
	}
	if keys.Binding == keys.Forward || keys.Binding == keys.Backward || keys.Binding == [32]byte{} {
		t.Error("the binding is a key, or nothing")
	}
	other, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, refused := range map[string]struct {
		context [32]byte
		key     PrivateKey
		request []byte
		want    error
	}{
		"other context": {[32]byte{8}, key, request, ErrForged},
		"other key":     {context, other, request, ErrUnknownKey},
		"cut":           {context, key, request[:requestFixed-1], ErrFormat},
		"too long":      {context, key, append(bytes.Clone(request), 0), ErrFormat},
	} {
		if _, _, err := Answer(refused.context, refused.key, refused.request, hear); !errors.Is(err, refused.want) {
			t.Errorf("%s: %v, want %v", name, err, refused.want)
		}
	}
	if _, _, err := NewExchange(context, key.Public(), make([]byte, MaxExchangeParams+1)); !errors.Is(err, ErrFormat) {
		t.Errorf("long parameters: %v", err)
	}
	if _, err := EphemeralOf(request[:40]); !errors.Is(err, ErrFormat) {
		t.Errorf("ephemeral key of a cut request: %v", err)
	}
}
