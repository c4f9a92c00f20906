package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"rsc.io/qr"

	"globalnet/agent/config"
	"globalnet/agent/control"
	"globalnet/mesh"
)

// Bounds of what OpenWrt's rpcd is asked for and told.
const (
	maxRPC      = 256 << 10 // of a question: a whole configuration
	maxRPCNodes = 250       // nodes of a picture
	maxLogLines = 1000
)

// rpcMethod is a method of the ubus object globalnet. Who may call it is said by the
// ACLs in /usr/share/rpcd/acl.d; no answer has a secret in it.
type rpcMethod struct {
	name string
	args map[string]any // examples: rpcd takes the types from them
	call func(ctx context.Context, in *invocation, q rpcQuestion) (any, error)
}

// rpcQuestion has the arguments of all methods. They come on stdin: others see the
// arguments of a command.
type rpcQuestion struct {
	Name       string       `json:"name"`
	Port       int          `json:"port"`
	Target     string       `json:"target"`
	Listing    bool         `json:"listing"`
	Restricted bool         `json:"restricted"`
	SingleHop  bool         `json:"single_hop"`
	Lines      int          `json:"lines"`
	Sections   []rpcSection `json:"sections"`
}

func rpcMethods() []rpcMethod {
	name := map[string]any{"name": ""}
	return []rpcMethod{
		{"status", nil, rpcStatus},
		{"lan", nil, func(ctx context.Context, in *invocation, _ rpcQuestion) (any, error) {
			return ask(ctx, in, (*control.Client).LAN)
		}},
		{"services", nil, func(ctx context.Context, in *invocation, _ rpcQuestion) (any, error) {
			list, err := ask(ctx, in, (*control.Client).Services)
			return map[string]any{"services": list}, err
		}},
		{"service", name, rpcService},
		{"log", map[string]any{"lines": 0}, rpcLog},
		{"check", map[string]any{"sections": []int{}}, rpcCheck},
		{"restart", nil, func(ctx context.Context, _ *invocation, _ rpcQuestion) (any, error) {
			return done, exec.CommandContext(ctx, "/etc/init.d/globalnet", "restart").Run()
		}},
		{"newnym", nil, rpcDo(func(ctx context.Context, c *control.Client, _ rpcQuestion) error { return c.NewIdentity(ctx) })},
		{"lan_off", nil, rpcDo(func(ctx context.Context, c *control.Client, _ rpcQuestion) error { return c.LANOff(ctx) })},
		{"service_add", map[string]any{"name": "", "port": 0, "target": "", "listing": true, "restricted": true, "single_hop": true}, rpcServiceAdd},
		{"service_remove", name, rpcDo(func(ctx context.Context, c *control.Client, q rpcQuestion) error { return c.RemoveService(ctx, q.Name) })},
	}
}

// done is the answer of what has none: rpcd wants an object.
var done = struct{}{}

func rpcDo(do func(ctx context.Context, c *control.Client, q rpcQuestion) error) func(context.Context, *invocation, rpcQuestion) (any, error) {
	return func(ctx context.Context, in *invocation, q rpcQuestion) (any, error) {
		c, err := in.client()
		if err != nil {
			return nil, err
		}
		return done, do(ctx, c, q)
	}
}

// rpcd is OpenWrt's rpcd asking, which knows neither exit codes nor stderr: an error is
// an answer with the members error and hint.
func rpcd(ctx context.Context, in *invocation) error {
	methods := rpcMethods()
	if in.args[0] == "list" {
		all := make(map[string]any)
		for _, m := range methods {
			if all[m.name] = m.args; m.args == nil {
				all[m.name] = done
			}
		}
		return json.NewEncoder(in.stdout).Encode(all)
	}
	if in.args[0] != "call" || len(in.args) != 2 {
		return usageError{errors.New("want list, or call METHOD with the arguments as JSON on stdin")}
	}
	in.stderr = io.Discard
	for _, m := range methods {
		if m.name == in.args[1] {
			return json.NewEncoder(in.stdout).Encode(in.rpcAnswer(ctx, m))
		}
	}
	return usageError{fmt.Errorf("no method %q; `globalnet rpcd list` shows them", in.args[1])}
}

func (in *invocation) rpcAnswer(ctx context.Context, m rpcMethod) any {
	var q rpcQuestion
	text, err := io.ReadAll(io.LimitReader(in.stdin, maxRPC))
	if err == nil && len(text) > 0 {
		err = json.Unmarshal(text, &q)
	}
	var answer any
	if err == nil {
		answer, err = m.call(ctx, in, q)
	}
	if err == nil {
		return answer
	}
	e := control.Error{Code: "failed", Message: err.Error()}
	if known, ok := errors.AsType[*control.Error](err); ok {
		e = *known
	} else if errors.Is(err, control.ErrNotRunning) {
		e.Code = "not_running"
	}
	return e
}

// rpcState is the answer of status: what a page shows without asking more.
type rpcState struct {
	verdict
	Version string `json:"version"`
	Running bool   `json:"running"`
	mesh.Status
	Routes []rpcRoute           `json:"routes"` // in use, the nearest first as Babel has them
	Nodes  int                  `json:"nodes"`  // in reach
	Onion  *control.OnionStatus `json:"onion,omitempty"`
}

// rpcRoute is a node of the picture.
type rpcRoute struct {
	Address   string `json:"address"`
	Neighbour string `json:"neighbour"` // NodeID of the next hop
	Metric    uint16 `json:"metric"`
}

func rpcStatus(ctx context.Context, in *invocation, _ rpcQuestion) (any, error) {
	r := rpcState{Version: version, Routes: []rpcRoute{}}
	s, err := ask(ctx, in, (*control.Client).Status)
	if errors.Is(err, control.ErrNotRunning) {
		r.verdict = verdict{"stopped", "GlobalNet is not running.", "Start it here, or see the log for why it ended."}
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	r.verdict, r.Running, r.Status, r.Nodes = judge(s), true, s, reachable(s)
	for _, route := range s.Routes {
		if route.Selected && route.Metric < unreachable && route.Destination.Addr() != s.Address && len(r.Routes) < maxRPCNodes {
			r.Routes = append(r.Routes, rpcRoute{route.Destination.Addr().String(), route.Neighbour, route.Metric})
		}
	}
	// Who uses the onion begins with these; a reader of the page need not know.
	if o, err := ask(ctx, in, (*control.Client).Onion); err == nil {
		o.Guards = nil
		r.Onion = &o
	}
	return r, nil
}

// rpcService is what an owner shows others: address, link, and the link as a picture of
// rows of 0 and 1.
func rpcService(_ context.Context, in *invocation, q rpcQuestion) (any, error) {
	in.args = []string{q.Name}
	_, info, err := in.loadService()
	if err != nil {
		return nil, err
	}
	code, err := qr.Encode(info.Link, qr.L)
	if err != nil {
		return nil, fmt.Errorf("drawing the QR code: %w", err)
	}
	rows := make([]string, code.Size)
	for y := range rows {
		row := make([]byte, code.Size)
		for x := range row {
			if row[x] = '0'; code.Black(x, y) {
				row[x] = '1'
			}
		}
		rows[y] = string(row)
	}
	return map[string]any{"name": info.Name, "address": info.Address, "link": info.Link, "rows": rows}, nil
}

func rpcServiceAdd(ctx context.Context, in *invocation, q rpcQuestion) (any, error) {
	c, err := in.client()
	if err != nil {
		return nil, err
	}
	p, err := config.ParseServicePort(fmt.Sprintf("%d %s", q.Port, q.Target))
	if err != nil {
		return nil, err
	}
	return c.AddService(ctx, control.ServiceRequest{Name: q.Name, Ports: []control.ServicePort{{Port: p.Port, Target: p.Target()}},
		Listing: q.Listing, Restricted: q.Restricted, SingleHop: q.SingleHop})
}

// rpcLog is the agent's part of the system log.
func rpcLog(ctx context.Context, _ *invocation, q rpcQuestion) (any, error) {
	if q.Lines <= 0 || q.Lines > maxLogLines {
		q.Lines = maxLogLines
	}
	out, err := exec.CommandContext(ctx, "logread", "-e", "globalnet", "-l", fmt.Sprint(q.Lines)).Output()
	if err != nil {
		return nil, fmt.Errorf("reading the system log: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if n := len(lines) - q.Lines; n > 0 {
		lines = lines[n:]
	}
	return map[string]any{"lines": lines}, nil
}

// rpcSection is a section of a configuration that is to be judged.
type rpcSection struct {
	Type    string                `json:"type"`
	Name    string                `json:"name"` // empty: it has none
	Options map[string]rpcStrings `json:"options"`
}

// rpcStrings is an option's value, or the values of a list.
type rpcStrings struct {
	list   bool
	values []string
}

func (s *rpcStrings) UnmarshalJSON(text []byte) error {
	if s.list = len(text) > 0 && text[0] == '['; s.list {
		return json.Unmarshal(text, &s.values)
	}
	s.values = make([]string, 1)
	return json.Unmarshal(text, &s.values[0])
}

// rpcProblem is what is wrong with an option.
type rpcProblem struct {
	Section int    `json:"section"` // of the question; -1: of the whole
	Option  string `json:"option"`
	Text    string `json:"text"`
}

// rpcCheck judges a configuration before it is saved, as `globalnet config check` does.
func rpcCheck(_ context.Context, _ *invocation, q rpcQuestion) (any, error) {
	var text strings.Builder
	var sectionOf []int // by line
	line := func(section int, words ...string) {
		before := text.Len()
		for i, w := range words {
			if i > 0 {
				text.WriteByte(' ')
			}
			text.WriteString("'" + strings.ReplaceAll(w, "'", `'\''`) + "'")
		}
		text.WriteByte('\n')
		for range strings.Count(text.String()[before:], "\n") {
			sectionOf = append(sectionOf, section)
		}
	}
	for i, s := range q.Sections {
		if s.Name == "" {
			line(i, "config", s.Type)
		} else {
			line(i, "config", s.Type, s.Name)
		}
		for name, values := range s.Options {
			word := "option"
			if values.list {
				word = "list"
			}
			for _, v := range values.values {
				line(i, word, name, v)
			}
		}
	}
	_, _, err := config.Parse(config.DefaultPath, []byte(text.String()))
	problems := []rpcProblem{}
	for _, err := range unjoin(err) {
		p, ok := errors.AsType[*config.Problem](err)
		if !ok {
			problems = append(problems, rpcProblem{-1, "", err.Error()})
			continue
		}
		section := -1
		if p.Line > 0 && p.Line <= len(sectionOf) {
			section = sectionOf[p.Line-1]
		}
		problems = append(problems, rpcProblem{section, p.Option, p.Text})
	}
	return map[string]any{"problems": problems}, nil
}

func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}
