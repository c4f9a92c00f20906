package onionlab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A private tor network: three directory authorities, which relay too, and five exits.
const (
	authorities = 3
	torExits    = 5

	orPort      = 5000
	dirPort     = 7000
	controlPort = 9051
)

// torPatience bounds how long a private network takes to agree on its relays.
const torPatience = 3 * time.Minute

// Tor is Debian's tor, unchanged.
type Tor struct {
	world   *World
	program string
	common  string // of every torrc: the authorities
	relays  []*process
	client  *process
	runs    int
	control *controller // of the client

	host    *process // of services
	hosting *controller
	service string // the one that is offered
	visits  int
	renewed time.Time // when the client last forgot all
}

// CheckTor returns nil if tor is installed, or an error that says how to install it.
func CheckTor() error {
	for _, program := range []string{"tor", "tor-gencert"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not installed; on Debian: apt-get install tor", program)
		}
	}
	return nil
}

// NewTor starts the authorities and exits, and waits until there is a consensus that a
// client can use.
func NewTor(ctx context.Context, w *World) (Onion, error) {
	if err := CheckTor(); err != nil {
		return nil, err
	}
	t := &Tor{world: w}
	if err := t.startAll(ctx); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

func (t *Tor) startAll(ctx context.Context) error {
	var err error
	if t.program, err = exec.LookPath("tor"); err != nil {
		return err
	}
	if err := os.WriteFile(t.empty(), nil, 0o600); err != nil {
		return err
	}
	var servers strings.Builder
	for place := first; place < first+authorities; place++ {
		line, err := t.authority(ctx, place)
		if err != nil {
			return fmt.Errorf("keys of tor's authority %d: %w", place, err)
		}
		servers.WriteString(line)
	}
	t.common = "TestingTorNetwork 1\nAssumeReachable 1\nGeoIPFile /dev/null\nGeoIPv6File /dev/null\nConfluxEnabled 0\nProtocolWarnings 0\n" +
		servers.String()
	for place := first; place < first+authorities+torExits; place++ {
		text := fmt.Sprintf("Nickname r%d\nAddress %s\nORPort %s:%d\nSocksPort 0\nContactInfo a@b.example\n"+
			"ExitRelay 1\nExitPolicy accept *:*\nExitPolicyRejectPrivate 0\nServerDNSDetectHijacking 0\nServerDNSTestAddresses\n"+
			"ServerDNSAllowBrokenConfig 1\n", place, t.world.Addr(place), t.world.Addr(place), orPort)
		if place < first+authorities {
			text += fmt.Sprintf("DirPort %s:%d\n", t.world.Addr(place), dirPort) + `AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
V3AuthVotingInterval 60
V3AuthVoteDelay 4
V3AuthDistDelay 4
TestingV3AuthInitialVotingInterval 20
TestingV3AuthInitialVoteDelay 4
TestingV3AuthInitialDistDelay 4
TestingDirAuthVoteExit *
TestingDirAuthVoteGuard *
TestingMinExitFlagThreshold 0
ExitRelay 0
ExitPolicy reject *:*
`
			text = strings.Replace(text, "ExitRelay 1\nExitPolicy accept *:*\nExitPolicyRejectPrivate 0\n", "", 1)
		}
		p, err := t.start(place, text)
		if err != nil {
			return err
		}
		t.relays = append(t.relays, p)
	}
	return t.agreed(ctx)
}

var (
	v3ident     = regexp.MustCompile(`(?m)^fingerprint ([0-9A-F]{40})`)
	fingerprint = regexp.MustCompile(`(?m)^\S+ ((?:[0-9A-F]{4} ?){10})`)
)

// authority makes the keys of one and returns the line by which others know it.
func (t *Tor) authority(ctx context.Context, place int) (string, error) {
	dir := t.dir(place)
	keys := filepath.Join(dir, "keys")
	if err := os.MkdirAll(keys, 0o700); err != nil {
		return "", err
	}
	addr := t.world.Addr(place)
	gencert := exec.CommandContext(ctx, "tor-gencert", "--create-identity-key", "--passphrase-fd", "0", "-m", "12",
		"-a", fmt.Sprintf("%s:%d", addr, dirPort))
	gencert.Dir = keys
	gencert.Stdin = strings.NewReader("private network\n")
	if out, err := gencert.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	certificate, err := os.ReadFile(filepath.Join(keys, "authority_certificate"))
	if err != nil {
		return "", err
	}
	list := exec.CommandContext(ctx, t.program, "-f", t.empty(), "--defaults-torrc", t.empty(), "--list-fingerprint", "--DataDirectory", dir,
		"--ORPort", "1", "--Nickname", fmt.Sprintf("r%d", place), "--Address", addr.String(),
		"--DirAuthority", "x 127.0.0.1:1 ffffffffffffffffffffffffffffffffffffffff")
	list.Stdin = strings.NewReader("")
	out, err := list.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	ident, relay := v3ident.FindSubmatch(certificate), fingerprint.FindSubmatch(out)
	if ident == nil || relay == nil {
		return "", fmt.Errorf("no fingerprint in %q", out)
	}
	return fmt.Sprintf("DirAuthority r%d orport=%d no-v2 v3ident=%s %s:%d %s\n", place, orPort, ident[1], addr, dirPort,
		strings.ReplaceAll(string(relay[1]), " ", "")), nil
}

// empty is a configuration without a word, instead of Debian's.
func (t *Tor) empty() string { return filepath.Join(t.world.dir, "empty.torrc") }

func (t *Tor) dir(place int) string { return filepath.Join(t.world.dir, fmt.Sprintf("tor%d", place)) }

func (t *Tor) start(place int, text string) (*process, error) {
	dir := t.dir(place)
	if place == Client { // nothing remembered
		dir = fmt.Sprintf("%s-%d", dir, t.runs)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	torrc := filepath.Join(dir, "torrc")
	text = t.common + text + fmt.Sprintf("DataDirectory %s\nLog notice file %s/notice.log\n", dir, dir)
	if err := os.WriteFile(torrc, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return t.world.spawn(place, exec.Command(t.program, "-f", torrc, "--defaults-torrc", t.empty()), filepath.Join(dir, "out.log"))
}

// agreed waits until an authority has a consensus with all relays and exits.
func (t *Tor) agreed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, torPatience)
	defer cancel()
	path := filepath.Join(t.dir(first), "cached-microdesc-consensus")
	for {
		text, _ := os.ReadFile(path)
		if strings.Count(string(text), "\nr ") == authorities+torExits && strings.Count(string(text), " Exit ") >= torExits {
			return nil
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(t.dir(first), "notice.log"))
			return fmt.Errorf("tor's authorities do not agree: %w; the log ends with %s", ctx.Err(), log[max(0, len(log)-1000):])
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// Name implements Onion.
func (t *Tor) Name() string { return "tor" }

// Connect implements Onion.
func (t *Tor) Connect() (netip.AddrPort, error) {
	if t.control != nil {
		t.control.conn.Close()
		t.control = nil
	}
	stop(t.client)
	t.client = nil
	t.runs++
	at := netip.AddrPortFrom(t.world.Addr(Client), socksPort)
	var err error
	t.client, err = t.start(Client, fmt.Sprintf("SocksPort %s\nControlPort 127.0.0.1:%d\nClientOnly 1\n", at, controlPort))
	return at, err
}

// open makes the connection to the client's control port, if there is none.
func (t *Tor) open() (err error) {
	if t.control == nil {
		t.control, err = t.world.control(Client, controlPort, "CIRC")
	}
	return err
}

// ClientPid implements Onion.
func (t *Tor) ClientPid() int { return t.client.pid() }

// RelayPids implements Onion.
func (t *Tor) RelayPids() []int { return pids(t.relays) }

// Close implements Onion.
func (t *Tor) Close() { stop(append(slices.Clone(t.relays), t.client, t.host)...) }

// Build implements Onion through the control port: tor chooses the path.
func (t *Tor) Build(context.Context) (time.Duration, error) {
	if err := t.open(); err != nil {
		return 0, err
	}
	began := time.Now()
	id, err := t.control.ask("EXTENDCIRCUIT 0")
	if err != nil {
		return 0, err
	}
	id = strings.TrimPrefix(id, "EXTENDED ")
	if err := t.control.built(id); err != nil {
		return 0, err
	}
	took := time.Since(began)
	_, err = t.control.ask("CLOSECIRCUIT " + id)
	return took, err
}

// controller speaks tor's control protocol (control-spec).
type controller struct {
	conn   net.Conn
	r      *bufio.Reader
	events []string // that came while an answer was waited for
}

func (w *World) control(place, port int, events string) (c *controller, err error) {
	err = w.Do(place, func() error {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)) // tor opens it nowhere else without a password
		if err != nil {
			return err
		}
		c = &controller{conn: conn, r: bufio.NewReader(conn)}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("tor's control port: %w", err)
	}
	for _, command := range []string{"AUTHENTICATE", "SETEVENTS " + events} {
		if _, err := c.ask(command); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// ask returns what a command was answered, without the code.
func (c *controller) ask(command string) (string, error) {
	c.conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fmt.Fprintf(c.conn, "%s\r\n", command); err != nil {
		return "", err
	}
	var more []string
	for {
		line, err := c.line()
		switch {
		case err != nil:
			return "", err
		case strings.HasPrefix(line, "650"):
			c.events = append(c.events, line)
		case strings.HasPrefix(line, "250-"):
			more = append(more, line[4:])
		case strings.HasPrefix(line, "250"):
			return strings.Join(append(more, line[4:]), "\n"), nil
		default:
			return "", fmt.Errorf("tor answers %q to %s", line, command)
		}
	}
}

func (c *controller) line() (string, error) {
	line, err := c.r.ReadString('\n')
	if err == nil && len(line) < 5 {
		err = errors.New("tor's control port: a line is too short")
	}
	return strings.TrimSpace(line), err
}

// event waits for the next event and returns its words, the code first.
func (c *controller) event() (words []string, err error) {
	var line string
	if len(c.events) > 0 {
		line, c.events = c.events[0], c.events[1:]
	} else if line, err = c.line(); err != nil {
		return nil, err
	}
	return strings.Fields(line), nil
}

// built waits for the end of building a circuit.
func (c *controller) built(id string) error {
	for {
		words, err := c.event()
		if err != nil {
			return err
		}
		if len(words) < 4 || words[1] != "CIRC" || words[2] != id {
			continue
		}
		switch words[3] {
		case "BUILT":
			return nil
		case "FAILED", "CLOSED":
			return fmt.Errorf("circuit: %s", strings.Join(words, " "))
		}
	}
}
