package scenario

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"globalnet/lab"
	"globalnet/lab/labtest"
)

// run starts a program on a router, which ends with the test.
func run(t *testing.T, l *lab.Lab, name string, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(labtest.RequireProgram(t, program), args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, l.Node(name).Start(cmd))
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		if <-done; t.Failed() {
			t.Logf("%s on %s: %s", program, name, &out)
		}
	})
}

// nginx serves a folder on loopback of a router, port 8080.
func nginx(t *testing.T, l *lab.Lab, name, folder string) {
	t.Helper()
	dir := t.TempDir()
	var temp strings.Builder
	for _, what := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temp, "%s_temp_path %s;\n", what, dir)
	}
	config := filepath.Join(dir, "nginx.conf")
	must(t, os.WriteFile(config, fmt.Appendf(nil, `daemon off; master_process off; user root;
pid %[1]s/pid; error_log stderr;
events {}
http { access_log off; sendfile on; %[2]s
	server { listen 127.0.0.1:8080; root %[3]s; } }
`, dir, &temp, folder), 0o600))
	run(t, l, name, "nginx", "-e", "stderr", "-c", config)
}

// sshd is Debian's on loopback of a router, port 2222; who has the key of the returned
// file comes in as root.
func sshd(t *testing.T, l *lab.Lab, name string) (key string) {
	t.Helper()
	// Its separated half wants another user and groups, which a sandbox without root has not.
	if ids, err := os.ReadFile("/proc/self/uid_map"); err != nil || len(strings.Fields(string(ids))) != 3 || strings.Fields(string(ids))[2] == "1" {
		t.Skipf("sshd wants more than one user: %s%v", ids, err)
	}
	dir := t.TempDir()
	program := labtest.RequireProgram(t, "sshd")
	for _, name := range []string{"host", "client"} {
		out, err := exec.Command(labtest.RequireProgram(t, "ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name)).CombinedOutput()
		if err != nil {
			t.Fatalf("ssh-keygen: %v %s", err, out)
		}
	}
	config := filepath.Join(dir, "sshd.conf")
	must(t, os.WriteFile(config, fmt.Appendf(nil, `ListenAddress 127.0.0.1:2222
HostKey %[1]s/host
AuthorizedKeysFile %[1]s/client.pub
PermitRootLogin yes
StrictModes no
UsePAM no
PidFile none
`, dir), 0o600))
	// /run/sshd of a mount namespace of its own.
	run(t, l, name, "unshare", "-m", "sh", "-c", `mount -t tmpfs run /run && mkdir /run/sshd && exec "$0" -D -e -f "$1"`, program, config)
	return filepath.Join(dir, "client")
}

// Real servers behind services of one router, real clients on another: nginx and
// curl, sshd and ssh.
func servicePrograms(t *testing.T, l *lab.Lab) {
	folder := t.TempDir()
	must(t, os.Chmod(folder, 0o755))
	page := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{1}).Read(page)
	must(t, os.WriteFile(filepath.Join(folder, "page"), page, 0o644))
	nginx(t, l, "g", folder)
	owner(t, l, "g", "service", "add", "nginx", "--to", "127.0.0.1:8080", "--port", "80")
	web := reachable(t, l, "g", "nginx")
	file := filepath.Join(t.TempDir(), "page")
	eventually(t, "curl gets nginx's page", func() bool {
		_, err := visit(t, l, "a", web+"/page", "-o", file)
		got, _ := os.ReadFile(file)
		return err == nil && sha256.Sum256(got) == sha256.Sum256(page)
	})
	if head, err := visit(t, l, "a", web+"/page", "-I"); err != nil || !strings.Contains(head, "Server: nginx") {
		t.Errorf("the head: %q, %v", head, err)
	}
	if part, err := visit(t, l, "a", web+"/page", "-r", "10-19", "-o", file); err != nil {
		t.Errorf("a part: %q, %v", part, err)
	}
	if got, _ := os.ReadFile(file); !bytes.Equal(got, page[10:20]) {
		t.Errorf("of a part came %d bytes, and not the right ones", len(got))
	}
	owner(t, l, "g", "service", "remove", "nginx")

	key := sshd(t, l, "g")
	owner(t, l, "g", "service", "add", "sshd", "--to", "127.0.0.1:2222", "--port", "22")
	shell := reachable(t, l, "g", "sshd")
	eventually(t, "ssh runs a command", func() bool {
		out, err := secureShell(t, l, "a", key, shell, "echo from $((40+2)); hostname", "")
		return err == nil && out == "from 42\ng"
	})
	text := strings.Repeat("sixteen letters\n", 1<<16)
	if out, err := secureShell(t, l, "a", key, shell, "sha256sum", text); err != nil || !strings.HasPrefix(out, fmt.Sprintf("%x ", sha256.Sum256([]byte(text)))) {
		t.Errorf("a megabyte through ssh: %q, %v", out, err)
	}
	if out, err := secureShell(t, l, "a", "/dev/null", shell, "true", ""); err == nil {
		t.Errorf("without the key: %q", out)
	}
	owner(t, l, "g", "service", "remove", "sshd")
}

// secureShell runs a command through ssh and the SOCKS port of a router.
func secureShell(t *testing.T, l *lab.Lab, from, key, host, command, input string) (string, error) {
	t.Helper()
	proxy := fmt.Sprintf("ProxyCommand=%s - SOCKS4A:%s:%%h:%%p,socksport=%d", labtest.RequireProgram(t, "socat"), socksPort.Addr(), socksPort.Port())
	cmd := exec.CommandContext(t.Context(), "timeout", "30", labtest.RequireProgram(t, "ssh"), "-F", "none", "-i", key, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", "-o", proxy, "root@"+host, command)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &out
	if err := l.Node(from).Start(cmd); err != nil {
		return "", err
	}
	err := cmd.Wait()
	return strings.TrimSpace(out.String()), err
}
