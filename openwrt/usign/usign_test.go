package usign

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var message = bytes.Repeat([]byte("what is signed\n"), 100)

func newKey(t *testing.T) *Key {
	t.Helper()
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSignAndVerify(t *testing.T) {
	k, other := newKey(t), newKey(t)
	mini, err := k.SignMinisign(message, "version 1")
	if err != nil {
		t.Fatal(err)
	}
	for _, sig := range [][]byte{k.Sign(message), mini} {
		if err := Verify(k.Public(), message, sig); err != nil {
			t.Error(err)
		}
		if err := Verify(k.Public(), message[1:], sig); err == nil {
			t.Error("another message passes")
		}
		if err := Verify(other.Public(), message, sig); err == nil {
			t.Error("another key passes")
		}
		same := *other
		same.id = k.id
		if err := Verify(same.Public(), message, sig); err == nil {
			t.Error("another key of the same name passes")
		}
	}
	if _, err := k.SignMinisign(message, "two\nlines"); err == nil {
		t.Error("a note of two lines was signed")
	}
}

func TestKeyFile(t *testing.T) {
	k := newKey(t)
	again, err := ParseKey(k.Secret())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Sign(message), k.Sign(message)) {
		t.Error("the key that was read signs differently")
	}
	secret := string(k.Secret())
	_, body, _ := strings.Cut(secret, "\n")
	for name, text := range map[string]string{
		"empty": "", "no comment": body, "cut": secret[:60], "not base64": comment + "x\n!!!\n",
		"public": string(k.Public()), "other letters": strings.Replace(secret, "\nRWRCS", "\nRWRCT", 1),
		"checksum": strings.Replace(secret, body[40:60], body[41:61], 1),
		"password": comment + "x\nRWRCSwAAACo" + body[len("RWRCSwAAACo"):],
	} {
		if _, err := ParseKey([]byte(text)); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

// TestRealTools lets each program read what was written here, and reads usign's.
func TestRealTools(t *testing.T) {
	k := newKey(t)
	dir := t.TempDir()
	mini, err := k.SignMinisign(message, "version 1")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"m": message, "m.sig": k.Sign(message), "m.minisig": mini, "key.pub": k.Public(), "key.sec": k.Secret(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ variable, name, args string }{
		{"USIGN", "usign", "-V -m m -p key.pub -x m.sig"},
		{"USIGN", "usign", "-S -m m -s key.sec -x m.real"},
		{"SIGNIFY", "signify-openbsd", "-V -m m -p key.pub -x m.sig"},
		{"MINISIGN", "minisign", "-V -m m -p key.pub -x m.minisig"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			program := os.Getenv(tt.variable)
			if program == "" {
				program = tt.name
			}
			if _, err := exec.LookPath(program); err != nil {
				t.Skip(err)
			}
			run := func() error {
				cmd := exec.Command(program, strings.Fields(tt.args)...)
				cmd.Dir = dir
				out, err := cmd.CombinedOutput()
				t.Logf("%s", out)
				return err
			}
			if err := run(); err != nil {
				t.Fatal(err)
			}
			if real, err := os.ReadFile(filepath.Join(dir, "m.real")); err == nil {
				if err := Verify(k.Public(), message, real); err != nil {
					t.Error(err)
				}
				return
			}
			if err := os.WriteFile(filepath.Join(dir, "m"), message[1:], 0o600); err != nil {
				t.Fatal(err)
			}
			if run() == nil {
				t.Error("another message passes")
			}
			os.WriteFile(filepath.Join(dir, "m"), message, 0o600)
		})
	}
}

// TestMinisign reads what minisign makes unless it is told otherwise: the signature of
// a digest.
func TestMinisign(t *testing.T) {
	if _, err := exec.LookPath("minisign"); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "m"), message, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"-G -W -p key.pub -s key.sec", "-S -s key.sec -m m", "-S -l -s key.sec -m m -x m.legacy"} {
		cmd := exec.Command("minisign", strings.Fields(args)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", args, err, out)
		}
	}
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for _, name := range []string{"m.minisig", "m.legacy"} {
		if err := Verify(read("key.pub"), message, read(name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if Verify(read("key.pub"), message[1:], read(name)) == nil {
			t.Errorf("%s: another message passes", name)
		}
	}
	if signed, err := CheckFile(filepath.Join(dir, "m"), dir, message, newKey(t).Public(), read("key.pub")); err != nil || !signed {
		t.Errorf("by the second of two keys: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	k, err := NewKey()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k.Public(), k.Sign(message))
	f.Add([]byte(comment), []byte(comment+"\n"))
	f.Fuzz(func(t *testing.T, public, sig []byte) {
		if Verify(public, message, sig) == nil && !bytes.Contains(sig, []byte("\n")) {
			t.Error("passed in one line")
		}
	})
}
