package control

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"globalnet/agent/config"
)

// fakeSettings remembers what it was asked.
type fakeSettings struct {
	asked any
	err   error
}

func (s *fakeSettings) Settings() (SettingsView, error) {
	return SettingsView{Pending: &Pending{"a", 9}, Sections: []ConfigSection{{Options: map[string][]string{"a": {"b"}}}}, Types: config.Schema()}, s.err
}

func (s *fakeSettings) Change(_ context.Context, r ChangeRequest) (Changed, error) {
	s.asked = r
	return Changed{ID: "1"}, s.err
}

func (s *fakeSettings) Confirm(id string) error {
	s.asked = "confirm " + id
	return s.err
}

func (s *fakeSettings) Undo(_ context.Context, id string) error {
	s.asked = "undo " + id
	return s.err
}

func (s *fakeSettings) SetLANMode(_ context.Context, r LANModeRequest) (Changed, error) {
	s.asked = r
	return Changed{}, s.err
}

func (f *fake) Settings() Settings { return &f.settings }

func (f *fake) Log(after uint64) Log {
	return Log{First: 1, Last: after, Lines: []LogLine{{N: after, Time: time.Unix(1e9, 0).UTC(), Attrs: map[string]string{"k": "v"}}}}
}

func (f *fake) Map(context.Context) (Map, error) {
	return Map{Nodes: []MapNode{{ID: "x"}}, Links: []MapLink{{A: "x"}}}, nil
}

func (f *fake) History(neighbour string) (History, error) {
	return History{Neighbour: neighbour, Rx: []int64{1}}, nil
}

func TestConfigRequests(t *testing.T) {
	f := &fake{}
	for _, tt := range []struct {
		path, body string
		status     int
		asked      string
	}{
		{"/v1/config", `{"confirm_seconds":60,"changes":[{"section":"lan","option":"mode","value":"all"},{"section":"x","type":"lan","option":"interface","value":["a","b"]},{"section":"y","option":"","value":null}]}`, 200,
			`{"confirm_seconds":60,"changes":[{"section":"lan","option":"mode","value":["all"]},{"section":"x","type":"lan","option":"interface","value":["a","b"]},{"section":"y","option":"","value":null}]}`},
		{"/v1/config", `{"changes":[]}`, 400, ""},
		{"/v1/config", `{"changes":[{"section":"lan","option":"mode","value":7}]}`, 400, ""},
		{"/v1/config", `nothing`, 400, ""},
		{"/v1/config", strings.Repeat(" ", maxChanges+1), 413, ""},
		{"/v1/config/confirm", `{"id":"4f"}`, 200, `"confirm 4f"`},
		{"/v1/config/undo", `{"id":"4f"}`, 200, `"undo 4f"`},
		{"/v1/config/undo", `[]`, 400, ""},
		{"/v1/lan/mode", `{"network":"lan","mode":"all"}`, 200, `{"network":"lan","mode":"all"}`},
		{"/v1/lan/mode", `"lan"`, 400, ""},
	} {
		f.settings.asked = nil
		status, _ := get(t, f, "POST", tt.path, tt.body)
		asked := ""
		if f.settings.asked != nil {
			text, err := json.Marshal(f.settings.asked)
			if err != nil {
				t.Fatal(err)
			}
			asked = string(text)
		}
		if status != tt.status || asked != tt.asked {
			t.Errorf("%s %.80s: %d, asked %s", tt.path, tt.body, status, asked)
		}
	}
	f.settings.err = &Error{Code: BadRequest, Message: "lan.mode: wrong", Option: "lan.mode"}
	if status, body := get(t, f, "POST", "/v1/config", `{"changes":[{"section":"lan","option":"mode","value":"x"}]}`); status != 400 || !strings.Contains(body, `"option": "lan.mode"`) {
		t.Errorf("%d %s", status, body)
	}
	if status, body := get(t, f, "DELETE", "/v1/config", ""); status != 405 || !strings.Contains(body, "use GET, POST") {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := get(t, f, "GET", "/v1/log?after=-1", ""); status != 400 {
		t.Errorf("the log after -1: %d", status)
	}
}
