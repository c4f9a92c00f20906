package luci

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"globalnet/agent/config"
)

// Codes of ubus.
const (
	statusOK         = 0
	statusInvalid    = 2
	statusNotFound   = 4
	statusDenied     = 6
	errorDenied      = -32002 // of uhttpd's JSON-RPC
	rootSession      = "00000000000000000000000000000001"
	readerSession    = "00000000000000000000000000000002"
	aclFile          = "root/usr/share/rpcd/acl.d/luci-app-globalnet.json"
	menuFile         = "root/usr/share/luci/menu.d/luci-app-globalnet.json"
	maxUBUS          = 1 << 20
	everybodysObject = "session luci file uci"
)

// ubus stands in for uhttpd's door to ubus and for what answers there: rpcd's sessions,
// access lists and uci, and its plugins, which are run as rpcd runs them.
type ubus struct {
	t      *testing.T
	plugin func(method string, stdin []byte) ([]byte, error)
	conf   string                     // the file /etc/config/globalnet
	apply  func()                     // what a change of it triggers
	grants map[string]map[string]bool // of a session: "scope object function"

	mu     sync.Mutex
	staged *config.File // nil: as on disk
	calls  []string     // of the plugin: method and arguments
	sent   []string     // answers, by session
}

// acl is one of rpcd's files: group → read or write → scope → objects.
type acl map[string]struct {
	Description string
	Read, Write map[string]json.RawMessage
}

func readACL(t *testing.T) acl {
	t.Helper()
	text, err := os.ReadFile(aclFile)
	if err != nil {
		t.Fatal(err)
	}
	var a acl
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a
}

// granted is what rpcd would grant by the file: a scope that is a list has the permission
// itself as function, one that is an object names the functions.
func granted(t *testing.T, a acl, writes bool) map[string]bool {
	t.Helper()
	all := make(map[string]bool)
	add := func(group, permission string, scopes map[string]json.RawMessage) {
		if scopes == nil {
			return
		}
		all["access-group "+group+" "+permission] = true
		for scope, text := range scopes {
			var list []string
			var table map[string][]string
			if json.Unmarshal(text, &list) == nil {
				for _, object := range list {
					all[scope+" "+object+" "+permission] = true
				}
			} else if json.Unmarshal(text, &table) == nil {
				for object, functions := range table {
					for _, f := range functions {
						all[scope+" "+object+" "+f] = true
					}
				}
			} else {
				t.Fatalf("%s: scope %s of %s", aclFile, scope, group)
			}
		}
	}
	for group, g := range a {
		add(group, "read", g.Read)
		if writes {
			add(group, "write", g.Write)
		}
	}
	return all
}

func newUBUS(t *testing.T, conf string, apply func(), plugin func(method string, stdin []byte) ([]byte, error)) *ubus {
	a := readACL(t)
	return &ubus{t: t, plugin: plugin, conf: conf, apply: apply, grants: map[string]map[string]bool{
		rootSession: granted(t, a, true), readerSession: granted(t, a, false),
	}}
}

type rpcRequest struct {
	ID     json.RawMessage   `json:"id"`
	Method string            `json:"method"`
	Params []json.RawMessage `json:"params"`
}

// ServeHTTP answers one call or a list of them.
func (u *ubus) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var text json.RawMessage
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxUBUS)).Decode(&text); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	var many []rpcRequest
	if json.Unmarshal(text, &many) == nil {
		answers := []any{}
		for _, q := range many {
			answers = append(answers, u.answer(q))
		}
		json.NewEncoder(w).Encode(answers)
		return
	}
	var one rpcRequest
	json.Unmarshal(text, &one)
	json.NewEncoder(w).Encode(u.answer(one))
}

func (u *ubus) answer(q rpcRequest) map[string]any {
	answer := map[string]any{"jsonrpc": "2.0", "id": q.ID}
	var session, object, method string
	var args json.RawMessage
	if q.Method != "call" || len(q.Params) < 3 || json.Unmarshal(q.Params[0], &session) != nil ||
		json.Unmarshal(q.Params[1], &object) != nil || json.Unmarshal(q.Params[2], &method) != nil {
		answer["error"] = map[string]any{"code": -32600, "message": "Invalid request"}
		return answer
	}
	if len(q.Params) > 3 {
		args = q.Params[3]
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	grants := u.grants[session]
	if !slices.Contains(strings.Fields(everybodysObject), object) && !grants["ubus "+object+" "+method] {
		answer["error"] = map[string]any{"code": errorDenied, "message": "Access denied"}
		return answer
	}
	code, result := u.call(grants, object, method, args)
	if result == nil {
		answer["result"] = []any{code}
	} else {
		answer["result"] = []any{code, result}
	}
	if text, err := json.Marshal(result); err == nil {
		u.sent = append(u.sent, session+" "+object+" "+method+" "+string(text))
	}
	return answer
}

func (u *ubus) call(grants map[string]bool, object, method string, args json.RawMessage) (int, any) {
	switch object + " " + method {
	case "session access":
		var q struct{ Scope, Object, Function string }
		json.Unmarshal(args, &q)
		return statusOK, map[string]bool{"access": grants[q.Scope+" "+q.Object+" "+q.Function]}
	case "luci getFeatures":
		return statusOK, map[string]bool{}
	case "file list":
		return statusOK, map[string][]string{"entries": {}}
	}
	switch object {
	case "uci":
		return u.uci(grants, method, args)
	case "globalnet":
		u.calls = append(u.calls, method+" "+string(args))
		out, err := u.plugin(method, args)
		var answer map[string]any // rpcd takes nothing but an object
		if err != nil || json.Unmarshal(out, &answer) != nil {
			u.t.Logf("plugin: %s %s: %v: %s", method, args, err, out)
			return statusInvalid, nil
		}
		return statusOK, answer
	}
	return statusNotFound, nil
}

// commit writes what is staged, as LuCI's own page for that does; confirming is nothing here.
func (u *ubus) commit(session string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.grants[session]["uci globalnet write"] {
		return false
	}
	if u.staged != nil {
		if err := os.WriteFile(u.conf, []byte(uciText(*u.staged)), 0o600); err != nil {
			u.t.Error(err)
			return false
		}
		u.staged = nil
		u.apply()
	}
	return true
}

// said returns what a session was told since the last time.
func (u *ubus) said(session string) (all []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, s := range u.sent {
		if strings.HasPrefix(s, session) {
			all = append(all, s)
		}
	}
	u.sent = nil
	return all
}

// uci is rpcd's: changes are kept apart until they are applied.
func (u *ubus) uci(grants map[string]bool, method string, args json.RawMessage) (int, any) {
	var q struct {
		Config, Section, Type, Name, Option string
		Options                             []string
		Sections                            []string
		Values                              map[string]json.RawMessage
	}
	if err := json.Unmarshal(args, &q); len(args) > 0 && err != nil {
		return statusInvalid, nil
	}
	if method == "changes" {
		changes := map[string]any{}
		if u.staged != nil {
			changes["globalnet"] = [][]string{{"set", "main", "…", "…"}}
		}
		return statusOK, map[string]any{"changes": changes}
	}
	need := "write"
	if method == "get" {
		need = "read"
	}
	if q.Config != "globalnet" || !grants["uci "+q.Config+" "+need] {
		return statusDenied, nil
	}
	f := u.file()
	at := slices.IndexFunc(f.Sections, func(s config.Section) bool { return s.Name == q.Section && q.Section != "" })
	switch method {
	case "get":
		return statusOK, map[string]any{"values": uciValues(*f)}
	case "add":
		if q.Name == "" {
			q.Name = fmt.Sprintf("cfg%02dffff", len(f.Sections))
		}
		f.Sections = append(f.Sections, config.Section{Type: q.Type, Name: q.Name})
		at, q.Section = len(f.Sections)-1, q.Name
		fallthrough
	case "set":
		if at < 0 {
			return statusNotFound, nil
		}
		for name, text := range q.Values {
			setOption(&f.Sections[at], name, text)
		}
		u.staged = f
		return statusOK, map[string]string{"section": q.Section}
	case "delete":
		if at < 0 {
			return statusNotFound, nil
		}
		if q.Option != "" {
			q.Options = append(q.Options, q.Option)
		}
		if q.Options == nil {
			f.Sections = slices.Delete(f.Sections, at, at+1)
		}
		for _, name := range q.Options {
			removeOption(&f.Sections[at], name)
		}
		u.staged = f
		return statusOK, nil
	case "order":
		return statusOK, nil
	}
	return statusNotFound, nil
}

// file is the configuration with what is staged. Sections without a name get one that
// begins with cfg.
func (u *ubus) file() *config.File {
	if u.staged != nil {
		return u.staged
	}
	text, err := os.ReadFile(u.conf)
	if err != nil {
		u.t.Error(err)
	}
	f, err := config.ParseFile(text)
	if err != nil {
		u.t.Error(err)
	}
	for i := range f.Sections {
		if f.Sections[i].Name == "" {
			f.Sections[i].Name = fmt.Sprintf("cfg%02dffff", i)
		}
	}
	return &f
}

func removeOption(s *config.Section, name string) {
	s.Options = slices.DeleteFunc(s.Options, func(o config.Option) bool { return o.Name == name })
}

func setOption(s *config.Section, name string, text json.RawMessage) {
	removeOption(s, name)
	var list []string
	if json.Unmarshal(text, &list) == nil {
		for _, v := range list {
			s.Options = append(s.Options, config.Option{Name: name, Value: v, List: true})
		}
		return
	}
	var v any
	json.Unmarshal(text, &v)
	s.Options = append(s.Options, config.Option{Name: name, Value: fmt.Sprint(v)})
}

func isAnonymous(s config.Section) bool { return strings.HasPrefix(s.Name, "cfg") }

func uciValues(f config.File) map[string]any {
	all := make(map[string]any)
	for i, s := range f.Sections {
		values := map[string]any{".type": s.Type, ".name": s.Name, ".anonymous": isAnonymous(s), ".index": i}
		for _, o := range s.Options {
			if list, ok := values[o.Name].([]string); ok && o.List {
				values[o.Name] = append(list, o.Value)
			} else if values[o.Name] = any(o.Value); o.List {
				values[o.Name] = []string{o.Value}
			}
		}
		all[s.Name] = values
	}
	return all
}

func uciText(f config.File) string {
	var b strings.Builder
	quote := func(v string) string { return "'" + strings.ReplaceAll(v, "'", `'\''`) + "'" }
	for _, s := range f.Sections {
		fmt.Fprintf(&b, "\nconfig %s", s.Type)
		if !isAnonymous(s) {
			b.WriteString(" " + quote(s.Name))
		}
		b.WriteString("\n")
		for _, o := range s.Options {
			kind := "option"
			if o.List {
				kind = "list"
			}
			fmt.Fprintf(&b, "\t%s %s %s\n", kind, o.Name, quote(o.Value))
		}
	}
	return b.String()
}
