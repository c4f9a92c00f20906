// Package flash puts the agent onto routers with OpenWrt over SSH, upgrades it and
// takes it off again: it looks first, refuses what cannot go well, keeps what it
// is about to change on the router, and has the router put everything back by
// itself unless the result was seen to work over a fresh connection.
//
// Routers have dropbear and busybox: files go by `cat`, programs are those of a
// small busybox. Run owns everything of one router; several may run at once.
package flash

import (
	"context"
	"errors"
	"fmt"
	"time"

	"globalnet/openwrt"
)

// Options say what to do. Login, Packages or File, and Backups are needed.
type Options struct {
	Login    *Login
	Packages string // folder that `make packages` filled
	File     string // or one package
	Backups  string // folder for the routers' configurations; empty: none is taken

	PublicKey  []byte // of usign or minisign: the package must be signed by it
	MeshRadio  string // "auto", a radio, or empty: radios are left alone
	Channel    int    // of the mesh; 0: the radio's
	LAN        string // "names", "all", "off", or empty: left alone
	Network    string
	Passphrase []byte
	Services   []string // NAME=PORT,TARGET

	DryRun    bool
	Downgrade bool // an older version may be installed
	Remove    bool
	Image     string // sysupgrade with this file instead

	Progress func(Event) // nil: silent; called by one goroutine of each router

	times times
}

// times are bounds; tests have shorter ones.
type times struct {
	install, apply, upgrade, settle, poll, reboot time.Duration
}

// The times of which the documents speak: a router undoes by itself what was not
// confirmed in this time.
var usual = times{
	install: 4 * time.Minute, apply: 3 * time.Minute, upgrade: 2 * time.Minute,
	settle: 10 * time.Second, poll: time.Second, reboot: 6 * time.Minute,
}

// Event is progress on one router.
type Event struct {
	Router      string
	Step        string
	N, Of       int
	Done, Total int64         // bytes, where some are sent
	Left        time.Duration // of the bytes, by their speed; 0: unknown
	Note        string        // something to read; Step is then what it belongs to
}

// Kind is how a flash ended, and the exit status of the command.
type Kind int

// Kinds, the worse the higher.
const (
	Done    Kind = iota
	Undone       // it failed; the router is as it was
	_            // 2 is wrong usage
	Refused      // it would not go well, or is not wanted; nothing was changed
	NoLogin      // no connection, or another router than the pinned one
	Pending      // it failed, and whether the router is as it was could not be seen
)

var kindNames = [...]string{"done", "undone", "usage", "refused", "unreachable", "pending"}

// String returns the word for k.
func (k Kind) String() string { return kindNames[min(max(k, 0), Pending)] }

// MarshalText encodes k as its word.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Failure is an error with what it means for the router, and what to do.
type Failure struct {
	Kind   Kind
	Step   string
	Err    error
	State  string // of the router
	Advice string
}

func (f *Failure) Error() string {
	text := f.Err.Error()
	if f.Step != "" {
		text = f.Step + ": " + text
	}
	return text
}

func (f *Failure) Unwrap() error { return f.Err }

// Report is what was found and done on one router.
type Report struct {
	Router  string   `json:"router"`
	Result  Kind     `json:"result"`
	What    string   `json:"what,omitempty"` // installed, upgraded, configured, removed, planned, written
	Facts   *Router  `json:"facts,omitempty"`
	Package string   `json:"package,omitempty"`
	Version string   `json:"version,omitempty"`
	Signed  bool     `json:"signed"`
	Plan    []string `json:"plan,omitempty"`

	// Changes are those of configurations of others, as `globalnet setup` prints them.
	Changes []openwrt.Change `json:"changes,omitempty"`

	Remarks []string `json:"remarks,omitempty"`
	Backup  string   `json:"backup,omitempty"`
	Node    string   `json:"node,omitempty"`
	Error   string   `json:"error,omitempty"`
	State   string   `json:"state,omitempty"`
	Advice  string   `json:"advice,omitempty"`
	Seconds float64  `json:"seconds"`
}

// Run flashes one router. The report is complete also where there is an error,
// which is a *Failure.
func Run(ctx context.Context, t Target, o Options) (*Report, error) {
	start := time.Now()
	if o.times == (times{}) {
		o.times = usual
	}
	s := &session{o: &o, target: t, report: &Report{Router: t.String()}}
	err := o.validate()
	if err != nil {
		err = &Failure{Kind: Refused, Err: err, Advice: "flash --help shows examples."}
	} else {
		err = s.run(ctx)
	}
	s.conn.close()
	s.report.Seconds = time.Since(start).Seconds()
	if err == nil {
		return s.report, nil
	}
	f := s.failure(err)
	s.report.Result, s.report.Error, s.report.State, s.report.Advice = f.Kind, f.Error(), f.State, f.Advice
	return s.report, f
}

// session is one router being flashed.
type session struct {
	o        *Options
	target   Target
	password string
	conn     *conn
	facts    *Router
	pkg      *chosen
	edits    *edits
	air      []string // interfaces of the mesh
	report   *Report

	bootID string    // of the kernel before an image is written
	since  time.Time // when the installation began

	step  string
	n, of int
	armed bool // the guard may hold the old files
	gone  bool // past the point from which the router cannot be put back
}

// do is one step with its progress.
func (s *session) do(ctx context.Context, name string, f func(context.Context) error) error {
	s.step = name
	s.n++
	s.emit(Event{})
	if err := ctx.Err(); err != nil {
		return err
	}
	return f(ctx)
}

func (s *session) emit(e Event) {
	if s.o.Progress == nil {
		return
	}
	e.Router, e.Step, e.N, e.Of = s.target.String(), s.step, s.n, max(s.of, s.n)
	s.o.Progress(e)
}

func (s *session) note(format string, args ...any) { s.emit(Event{Note: fmt.Sprintf(format, args...)}) }

type step struct {
	name string
	do   func(context.Context) error
}

func (s *session) run(ctx context.Context) error {
	first := []step{{"connect", s.connect}, {"look", s.look}, {"plan", s.plan}}
	s.of = len(first)
	for _, st := range first {
		if err := s.do(ctx, st.name, st.do); err != nil {
			return err
		}
	}
	if s.o.DryRun {
		s.report.What = "planned"
		return nil
	}
	steps := s.steps()
	s.of += len(steps)
	for _, st := range steps {
		if err := s.bounded(ctx, st); err != nil {
			return s.undo(ctx, err)
		}
	}
	return nil
}

// bounded ends a step that hangs before the router gives up by itself. Sending ends
// with the connection, and how long it takes depends on that.
func (s *session) bounded(ctx context.Context, st step) error {
	if st.name == "send" || s.gone {
		return s.do(ctx, st.name, st.do)
	}
	limit := s.o.times.install * 3 / 4
	stepCtx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := s.do(stepCtx, st.name, st.do)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("it did not end in %s", limit)
	}
	return err
}

// steps are those after the plan.
func (s *session) steps() []step {
	backup := step{"back up", s.backup}
	switch {
	case s.o.Image != "":
		return []step{backup, {"send", s.sendImage}, {"test", s.testImage}, {"write", s.writeImage}, {"verify", s.verifyImage}}
	case s.o.Remove:
		return []step{backup, {"arm", s.arm}, {"remove", s.remove}, {"verify", s.verifyRemoved}, {"confirm", s.confirm}}
	case s.pkg == nil && s.edits.empty():
		return nil
	}
	all := []step{backup}
	if s.pkg != nil {
		all = append(all, step{"send", s.send})
	}
	all = append(all, step{"arm", s.arm})
	if s.pkg != nil {
		all = append(all, step{"install", s.install})
	}
	return append(all, step{"configure", s.configure}, step{"apply", s.apply}, step{"verify", s.verify}, step{"confirm", s.confirm})
}

// failure completes what an error means.
func (s *session) failure(err error) *Failure {
	f, ok := errors.AsType[*Failure](err)
	if !ok {
		f = &Failure{Kind: Undone, Err: err}
		if h, isKey := errors.AsType[*HostKeyError](err); isKey {
			f.Kind, f.Advice = NoLogin, keyAdvice(h)
		} else if s.facts == nil {
			f.Kind, f.Advice = NoLogin, s.loginAdvice(err)
		}
	}
	if f.Step == "" {
		f.Step = s.step
	}
	if f.State == "" {
		f.State = "Nothing was changed on the router."
	}
	if f.Advice == "" {
		f.Advice = "Try again; --json shows everything that was found."
	}
	return f
}

func keyAdvice(h *HostKeyError) string {
	if len(h.Want) == 0 {
		return "Compare the fingerprint with the router's own: `dropbearkey -y -f /etc/dropbear/dropbear_ed25519_host_key` there. Then run again and accept it, or give --host-key."
	}
	return "A router that was written anew, or another one at this address, has another key. If that is so, run again with --new-host-key. If not, somebody is between you and the router: stop."
}

func (s *session) loginAdvice(err error) string {
	if errors.Is(err, ErrLogin) {
		return "A fresh OpenWrt has no password; else it is that of LuCI. Keys are taken from ~/.ssh, --identity and the agent."
	}
	return "Is the cable in a LAN port, and has this computer an address of the router's network? A fresh OpenWrt is at 192.168.1.1."
}
