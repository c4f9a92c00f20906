package control

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"globalnet/agent/config"
)

// Settings are the configuration as the API shows and changes it. An *Error they return
// is passed on.
type Settings interface {
	Settings() (SettingsView, error)
	// Change writes changes into the configuration, all or none, and reloads.
	Change(ctx context.Context, r ChangeRequest) (Changed, error)
	// Confirm keeps what was changed.
	Confirm(id string) error
	// Undo puts the configuration back as it was before.
	Undo(ctx context.Context, id string) error
	// SetLANMode changes the mode of a network, or of a client in it.
	SetLANMode(ctx context.Context, r LANModeRequest) (Changed, error)
}

// SettingsView is the configuration and what may be in it.
type SettingsView struct {
	Writable bool                 `json:"writable"` // there is a file
	Pending  *Pending             `json:"pending"`  // null: nothing waits
	Sections []ConfigSection      `json:"sections"` // of the file
	Types    []config.SectionInfo `json:"types"`    // of sections
}

// ConfigSection is a section of the file, secrets hidden.
type ConfigSection struct {
	Ref     string              `json:"ref"`
	Type    string              `json:"type"`
	Name    string              `json:"name"`
	Options map[string][]string `json:"options"`
}

// Pending is a change that waits for its confirmation.
type Pending struct {
	ID      string `json:"id"`
	Seconds int    `json:"seconds"` // until it is undone
}

// ChangeRequest is the body of POST /v1/config.
type ChangeRequest struct {
	ConfirmSeconds int            `json:"confirm_seconds,omitempty"` // 0: nothing to confirm
	Changes        []OptionChange `json:"changes"`
}

// OptionChange is a new value of an option.
type OptionChange struct {
	Section string `json:"section"`        // name or reference
	Type    string `json:"type,omitempty"` // makes the section if there is none
	Option  string `json:"option"`         // empty: the section
	Value   Values `json:"value"`          // null: none
}

// Values are null, a string, or a list of strings.
type Values []string

// UnmarshalJSON implements json.Unmarshaler.
func (v *Values) UnmarshalJSON(text []byte) error {
	var one string
	if len(text) > 0 && text[0] == '"' {
		err := json.Unmarshal(text, &one)
		*v = Values{one}
		return err
	}
	return json.Unmarshal(text, (*[]string)(v))
}

// Changed is what came of a change.
type Changed struct {
	ID             string   `json:"id"` // empty: nothing to confirm
	ConfirmSeconds int      `json:"confirm_seconds"`
	Live           []string `json:"live"`    // options applied at once
	Restart        []string `json:"restart"` // options that hold only after a restart
}

// ChangeID is the body of POST /v1/config/confirm and /v1/config/undo.
type ChangeID struct {
	ID string `json:"id"`
}

// LANModeRequest is the body of POST /v1/lan/mode.
type LANModeRequest struct {
	Network        string `json:"network"`
	Client         string `json:"client,omitempty"` // MAC or IP address
	Mode           string `json:"mode"`             // of a client: empty for the network's
	ConfirmSeconds int    `json:"confirm_seconds,omitempty"`
}

// Log is what the agent said lately.
type Log struct {
	First uint64    `json:"first"` // the oldest line that is kept
	Last  uint64    `json:"last"`
	Lines []LogLine `json:"lines"`
}

// LogLine is a message of the agent.
type LogLine struct {
	N       uint64            `json:"n"`
	Time    time.Time         `json:"time"`
	Level   string            `json:"level"`
	Message string            `json:"message"`
	Attrs   map[string]string `json:"attrs"`
}

// Map is the neighbourhood.
type Map struct {
	Nodes []MapNode `json:"nodes"`
	Links []MapLink `json:"links"`
	More  int       `json:"more"` // nodes that were left out
}

// MapNode is a node of the map.
type MapNode struct {
	ID        string `json:"id"`   // NodeID, or the mesh address where that is unknown
	Name      string `json:"name"` // the owner's for it
	Self      bool   `json:"self"`
	Neighbour bool   `json:"neighbour"`
	Gateway   bool   `json:"gateway"` // leads to others
	Relay     bool   `json:"relay"`
	Exit      bool   `json:"exit"`
	Metric    uint16 `json:"metric"` // 65535: no route
	Via       string `json:"via"`    // NodeID of the neighbour that leads there
}

// MapLink is a link between two nodes of the map.
type MapLink struct {
	A    string        `json:"a"`
	B    string        `json:"b"`
	Kind string        `json:"kind"` // radio, wire, internet, mesh; vouch: two others say so
	Cost uint16        `json:"cost"` // 0: unknown; of a vouch: at least
	RTT  time.Duration `json:"rtt_ns"`
}

// History is what was measured of a neighbour, the oldest sample first.
type History struct {
	Neighbour string        `json:"neighbour"`
	Every     time.Duration `json:"every_ns"`
	Age       time.Duration `json:"age_ns"` // of the last sample
	Rx        []int64       `json:"rx"`     // bytes a second; -1: unknown
	Tx        []int64       `json:"tx"`
	Loss      []int         `json:"loss"`   // percent of hellos
	RTT       []int64       `json:"rtt_us"` // microseconds
}

// pageAgent is an Agent that has what the page shows.
type pageAgent interface {
	Settings() Settings
	Log(after uint64) Log
	Map(ctx context.Context) (Map, error)
	History(neighbour string) (History, error)
}

// page serves what ask returns.
func (a api) page(ask func(p pageAgent, r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, ok := a.agent.(pageAgent)
		if !ok {
			fail(w, http.StatusConflict, Error{Code: "no_page", Message: "this agent has no page"})
			return
		}
		v, err := ask(p, r)
		if err != nil {
			failWith(w, err)
			return
		}
		answer(w, http.StatusOK, v)
	}
}

func getConfig(p pageAgent, _ *http.Request) (any, error) {
	v, err := p.Settings().Settings()
	v.Sections, v.Types = orEmpty(v.Sections), orEmpty(v.Types)
	return v, err
}

func postConfig(p pageAgent, r *http.Request) (any, error) {
	var req ChangeRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		return nil, &Error{Code: BadRequest, Message: "the body is no change of the configuration: " + err.Error()}
	}
	if len(req.Changes) == 0 {
		return nil, &Error{Code: BadRequest, Message: "there is nothing to change"}
	}
	return changed(p.Settings().Change(r.Context(), req))
}

func changed(c Changed, err error) (any, error) {
	c.Live, c.Restart = orEmpty(c.Live), orEmpty(c.Restart)
	return c, err
}

func confirmConfig(p pageAgent, r *http.Request) (any, error) {
	return withID(r, p.Settings().Confirm)
}

func undoConfig(p pageAgent, r *http.Request) (any, error) {
	return withID(r, func(id string) error { return p.Settings().Undo(r.Context(), id) })
}

func withID(r *http.Request, do func(id string) error) (any, error) {
	var req ChangeID
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		return nil, &Error{Code: BadRequest, Message: "the body names no change: " + err.Error()}
	}
	return struct{}{}, do(req.ID)
}

func setLANMode(p pageAgent, r *http.Request) (any, error) {
	var req LANModeRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		return nil, &Error{Code: BadRequest, Message: "the body is no mode of a network: " + err.Error()}
	}
	return changed(p.Settings().SetLANMode(r.Context(), req))
}

func getLog(p pageAgent, r *http.Request) (any, error) {
	var after uint64
	if text := r.URL.Query().Get("after"); text != "" {
		var err error
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return nil, &Error{Code: BadRequest, Message: "after: want the number of a line"}
		}
	}
	l := p.Log(after)
	l.Lines = orEmpty(l.Lines)
	return l, nil
}

func getMap(p pageAgent, r *http.Request) (any, error) {
	m, err := p.Map(r.Context())
	m.Nodes, m.Links = orEmpty(m.Nodes), orEmpty(m.Links)
	return m, err
}

func getHistory(p pageAgent, r *http.Request) (any, error) {
	h, err := p.History(r.URL.Query().Get("neighbour"))
	h.Rx, h.Tx, h.Loss, h.RTT = orEmpty(h.Rx), orEmpty(h.Tx), orEmpty(h.Loss), orEmpty(h.RTT)
	return h, err
}
