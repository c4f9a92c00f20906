package flash

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"globalnet/lab/router"
)

// key is a private key in a file, with a password or without, and its public half.
func key(t *testing.T, dir, name, password string) (file, public string, private ed25519.PrivateKey) {
	t.Helper()
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if password != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(password))
	}
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, name)
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	line, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return file, string(ssh.MarshalAuthorizedKey(line)), private
}

// serveAgent is an SSH agent with one key.
func serveAgent(t *testing.T, dir string, private ed25519.PrivateKey) (socket string) {
	t.Helper()
	keys := agent.NewKeyring()
	if err := keys.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go agent.ServeAgent(keys, c)
		}
	}()
	return socket
}

// TestLogin: dropbear and OpenSSH let in who has the password, a key, a key with a
// password, or a key in the agent; nobody else, and nothing is changed then.
func TestLogin(t *testing.T) {
	for name, openSSH := range map[string]bool{"dropbear": false, "OpenSSH": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := router.MT3000
			m.OpenSSH, m.Password = openSSH, true
			r := router.New(t, m)
			dir, err := os.MkdirTemp("", "keys-") // short: a socket is in it
			if err != nil {
				t.Fatal(err)
			}
			plain, public, _ := key(t, dir, "id_ed25519", "")
			locked, lockedPublic, _ := key(t, dir, "locked", "open sesame")
			stranger, _, _ := key(t, dir, "stranger", "")
			_, agentPublic, held := key(t, dir, "held", "")
			socket := serveAgent(t, dir, held)
			r.Write("root/.ssh/authorized_keys", public+lockedPublic+agentPublic)
			if err := errors.Join(os.Chmod(filepath.Join(r.Root, "root/.ssh/authorized_keys"), 0o600), os.Chmod(filepath.Join(r.Root, "root/.ssh"), 0o700), os.Chmod(filepath.Join(r.Root, "root"), 0o700)); err != nil {
				t.Fatal(err)
			}
			r.Offer("1.0-r1", nil)
			asked := ""
			warned := ""
			login := func(k *Keys, password string) (*Report, error) {
				o := options(r)
				o.DryRun = true
				if k != nil {
					k.Secret = func(question string) (string, error) { asked = question; return "open sesame", nil }
					k.Warn = func(format string, args ...any) { warned = format }
					o.Login.Signers = func() ([]ssh.Signer, error) { return k.Signers(), nil }
				}
				if password != "" {
					o.Login.Password = func(string) (string, error) { return password, nil }
				}
				return run(t, r, o)
			}
			for who, try := range map[string]func() (*Report, error){
				"password":      func() (*Report, error) { return login(nil, router.Password) },
				"usual key":     func() (*Report, error) { return login(&Keys{Folder: dir}, "") },
				"named key":     func() (*Report, error) { return login(&Keys{File: plain}, "") },
				"locked key":    func() (*Report, error) { return login(&Keys{File: locked}, "") },
				"agent":         func() (*Report, error) { return login(&Keys{Folder: "/nothing", Agent: socket}, "") },
				"after a wrong": func() (*Report, error) { return login(&Keys{File: stranger}, router.Password) },
			} {
				if report, err := try(); err != nil || report.What != "planned" || report.Facts.Board != m.Board {
					t.Errorf("%s: %+v, %v\n%s", who, report, err, r.Temp("dropbear.log"))
				}
			}
			if !strings.Contains(asked, locked) {
				t.Errorf("asked %q", asked)
			}
			for who, try := range map[string]func() (*Report, error){
				"wrong password": func() (*Report, error) { return login(nil, "let me in") },
				"nothing":        func() (*Report, error) { return login(nil, "") },
				"stranger":       func() (*Report, error) { return login(&Keys{File: stranger}, "") },
			} {
				report, err := try()
				if f, ok := errors.AsType[*Failure](err); !ok || f.Kind != NoLogin || !errors.Is(err, ErrLogin) || f.Advice == "" || !strings.Contains(f.State, "Nothing was changed") {
					t.Errorf("%s: %+v, %v", who, report, err)
				}
			}
			if (&Keys{File: filepath.Join(dir, "missing"), Warn: func(string, ...any) { warned = "missing" }}).Signers() != nil || warned != "missing" {
				t.Error("a key that is missing is not said")
			}
			if openSSH { // the whole way, once
				before := r.Files()
				o := options(r)
				o.Login.Password = func(string) (string, error) { return router.Password, nil }
				o.MeshRadio = "auto"
				for _, remove := range []bool{false, true} {
					if o.Remove = remove; remove {
						o.MeshRadio = ""
					}
					if report, err := run(t, r, o); err != nil {
						t.Fatalf("%+v, %v", report, err)
					}
				}
				router.Same(t, before, r.Files())
			}
		})
	}
}

// TestSeveral: routers at once, of which one is refused and one cannot be reached.
func TestSeveral(t *testing.T) {
	all := []*router.Router{router.New(t, router.AR300M), router.New(t, router.MT3000), router.New(t, router.RaspberryPi)}
	hosts := &Hosts{File: filepath.Join(t.TempDir(), "known_hosts")}
	type result struct {
		at     int
		report *Report
		err    error
	}
	results := make(chan result)
	for i, r := range all {
		r.Offer("1.0-r1", nil)
		o := options(r)
		o.Login.Hosts = hosts // one file for all
		if i == 2 {
			o.MeshRadio = "auto" // which its radio cannot
		}
		go func() {
			report, err := run(t, r, o)
			results <- result{i, report, err}
		}()
	}
	for range all {
		got := <-results
		want := Done
		if got.at == 2 {
			want = Refused
		}
		if got.report.Result != want || (got.err == nil) != (want == Done) {
			t.Errorf("router %d: %+v, %v", got.at, got.report, got.err)
		}
	}
	pins, err := os.ReadFile(hosts.File)
	if err != nil || strings.Count(string(pins), "\n") != len(all) {
		t.Errorf("pins: %v\n%s", err, pins)
	}
}
