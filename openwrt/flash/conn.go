package flash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Login is how to get onto routers. Its functions may be called for several
// routers, one at a time.
type Login struct {
	Signers  func() ([]ssh.Signer, error)          // keys and the agent; nil for none
	Password func(router string) (string, error)   // nil: not asked
	Trust    func(router, fingerprint string) bool // a host key seen for the first time; nil: refused
	Hosts    *Hosts
}

// Bounds of waiting for a router.
const (
	dialTimeout = 10 * time.Second
	aliveEvery  = 5 * time.Second
	maxOutput   = 4 << 20
)

// ErrLogin says that the router wants other credentials.
var ErrLogin = errors.New("the router refuses the login")

// conn is an SSH connection to a router. Two goroutines watch that it lives and that
// the router answers; they end with close.
type conn struct {
	client *ssh.Client
	ended  chan struct{} // by us
	dead   chan struct{} // by whomever
	once   sync.Once
	wg     sync.WaitGroup
}

// dial connects; the password of an earlier connection is asked for once.
func (l *Login) dial(ctx context.Context, t Target, password *string) (*conn, error) {
	hosts := l.Hosts
	config := &ssh.ClientConfig{
		User: t.User, HostKeyCallback: hosts.callback(t, l.Trust), HostKeyAlgorithms: hosts.algorithms(t), Timeout: dialTimeout,
	}
	if l.Signers != nil {
		config.Auth = append(config.Auth, ssh.PublicKeysCallback(l.Signers))
	}
	if l.Password != nil {
		ask := func() (string, error) {
			if *password == "" {
				p, err := l.Password(t.String())
				if err != nil {
					return "", err
				}
				*password = p
			}
			return *password, nil
		}
		config.Auth = append(config.Auth, ssh.PasswordCallback(ask),
			ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
				answers := make([]string, len(questions))
				for i := range answers {
					var err error
					if answers[i], err = ask(); err != nil {
						return nil, err
					}
				}
				return answers, nil
			}))
	}
	d := net.Dialer{Timeout: dialTimeout}
	raw, err := d.DialContext(ctx, "tcp", t.Address())
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	raw.SetDeadline(time.Now().Add(6 * dialTimeout)) // a person may have to type a password
	inner, channels, requests, err := ssh.NewClientConn(raw, t.Address(), config)
	if err != nil {
		raw.Close()
		if h, ok := errors.AsType[*HostKeyError](err); ok {
			return nil, h
		}
		// 51 is a refusal, which the library does not expect of OpenSSH there.
		if strings.Contains(err.Error(), "unable to authenticate") || strings.Contains(err.Error(), "unexpected message type 51") {
			return nil, fmt.Errorf("%w of %s", ErrLogin, t.User)
		}
		return nil, fmt.Errorf("connecting: %w", err)
	}
	raw.SetDeadline(time.Time{})
	c := &conn{client: ssh.NewClient(inner, channels, requests), ended: make(chan struct{}), dead: make(chan struct{})}
	c.wg.Go(c.watch)
	c.wg.Go(func() {
		defer close(c.dead)
		_ = c.client.Wait() // why is what the next command says
	})
	return c, nil
}

// watch closes a connection over which nothing comes any more.
func (c *conn) watch() {
	t := time.NewTicker(aliveEvery)
	defer t.Stop()
	for {
		select {
		case <-c.ended:
			return
		case <-t.C:
		}
		timer := time.AfterFunc(3*aliveEvery, func() { c.client.Close() })
		_, _, err := c.client.SendRequest("keepalive@openssh.com", true, nil)
		timer.Stop()
		if err != nil {
			c.client.Close()
			return
		}
	}
}

func (c *conn) close() {
	if c == nil {
		return
	}
	c.once.Do(func() { close(c.ended) })
	c.client.Close()
	c.wg.Wait()
}

// exitError is a command that the router ran and that did not end well.
type exitError struct {
	status int
	said   string
}

func (e *exitError) Error() string {
	if e.said == "" {
		return fmt.Sprintf("the router's command ended with %d", e.status)
	}
	return "the router says: " + e.said
}

// run runs a command with stdin, and returns what it printed. The command is
// visible to all on the router; what is secret goes by stdin.
func (c *conn) run(ctx context.Context, command string, stdin io.Reader) (string, error) {
	var out limited
	err := c.stream(ctx, command, stdin, &out)
	return strings.TrimSpace(out.String()), err
}

// stream is run with the output going to w.
func (c *conn) stream(ctx context.Context, command string, stdin io.Reader, w io.Writer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { c.client.Close() })
	defer stop()
	s, err := c.session(ctx)
	if err != nil {
		return fmt.Errorf("talking to the router: %w", err)
	}
	defer s.Close()
	var said limited
	s.Stdin, s.Stdout, s.Stderr = stdin, w, &said
	err = s.Run(command)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if e, ok := errors.AsType[*ssh.ExitError](err); ok && e.Signal() == "" {
		text := said.tail()
		if l, ok := w.(*limited); ok && text == "" {
			text = l.tail()
		}
		return &exitError{e.ExitStatus(), text}
	}
	if err != nil {
		return fmt.Errorf("talking to the router: %w", err)
	}
	return nil
}

// session opens a session. The library may wait for ever where the connection ends
// at the same time: then its goroutine is left behind, and nothing else.
func (c *conn) session(ctx context.Context) (*ssh.Session, error) {
	type opened struct {
		s   *ssh.Session
		err error
	}
	done := make(chan opened, 1)
	go func() {
		s, err := c.client.NewSession()
		done <- opened{s, err}
	}()
	select {
	case o := <-done:
		return o.s, o.err
	case <-c.dead:
		return nil, errors.New("the connection was cut")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// limited is output of a router, bounded.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if room := maxOutput - l.Len(); room > 0 {
		l.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// tail is what is worth showing of the end, printable and in one line.
func (l *limited) tail() string {
	lines := strings.Split(strings.TrimSpace(l.String()), "\n")
	lines = lines[max(0, len(lines)-4):]
	text := strings.Join(strings.Fields(strings.Join(lines, "; ")), " ")
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x9b {
			return -1
		}
		return r
	}, text)
	return text[max(0, len(text)-400):]
}
