package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"globalnet/internal/identity"
)

type fakeServices struct {
	list []Service
	err  error
}

func (f *fakeServices) Services() []Service { return f.list }

func (f *fakeServices) AddService(_ context.Context, r ServiceRequest) (Service, error) {
	s := Service{Name: r.Name, Ports: r.Ports, Restricted: r.Restricted, SingleHop: r.SingleHop, Published: -1, Points: []identity.NodeID{}}
	if f.err == nil {
		f.list = append(f.list, s)
	}
	return s, f.err
}

func (f *fakeServices) RemoveService(_ context.Context, name string) error {
	if f.err == nil {
		f.list = nil
	}
	return f.err
}

func TestServicesByClient(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	services := &fakeServices{}
	start(t, path, &fake{services: services})
	c := NewClient(path)
	if list, err := c.Services(t.Context()); err != nil || list == nil || len(list) != 0 {
		t.Errorf("none: %v, %v", list, err)
	}
	r := ServiceRequest{Name: "web", Restricted: true}
	for n := range 64 {
		r.Ports = append(r.Ports, ServicePort{uint16(n + 1), "127.0.0.1:" + fmt.Sprint(n+1)})
	}
	added, err := c.AddService(t.Context(), r)
	if err != nil || added.Name != "web" || !added.Restricted || len(added.Ports) != 64 || added.Published != -1 {
		t.Errorf("added: %+v, %v", added, err)
	}
	services.list[0].Published, services.list[0].Points = time.Minute, []identity.NodeID{{1}}
	list, err := c.Services(t.Context())
	if err != nil || !reflect.DeepEqual(list, services.list) {
		t.Errorf("got %+v, %v\nwant %+v", list, err, services.list)
	}
	if err := c.RemoveService(t.Context(), "web"); err != nil || services.list != nil {
		t.Errorf("removed: %v, %v", services.list, err)
	}
	services.err = &Error{Code: BadRequest, Message: "no", Hint: "do"}
	var e *Error
	if err := c.RemoveService(t.Context(), "web"); !errors.As(err, &e) || *e != *services.err.(*Error) {
		t.Errorf("refused: %v", err)
	}
}

func TestServicesErrors(t *testing.T) {
	on := &fake{services: &fakeServices{}}
	for _, tt := range []struct {
		agent              *fake
		method, path, body string
		status             int
		code               string
	}{
		{&fake{}, "GET", "/v1/services", "", 409, "onion_off"},
		{&fake{}, "POST", "/v1/services/add", `{"name":"x","ports":[{"port":80,"target":"/a"}]}`, 409, "onion_off"},
		{on, "POST", "/v1/services", "", 405, "bad_method"},
		{on, "POST", "/v1/services/add", "x", 400, "bad_request"},
		{on, "POST", "/v1/services/add", `{"name":"x"}`, 400, "bad_request"},
		{on, "POST", "/v1/services/add", `{"ports":[{"port":80,"target":"/a"}]}`, 400, "bad_request"},
		{on, "POST", "/v1/services/add", `{"name":"x","ports":[{"port":80000,"target":"/a"}]}`, 400, "bad_request"},
		{on, "POST", "/v1/services/add", strings.Repeat("x", maxPut+1), 413, "too_large"},
		{on, "POST", "/v1/services/remove", "x", 400, "bad_request"},
		{&fake{services: &fakeServices{err: errors.New("stopped")}}, "POST", "/v1/services/remove", `{"name":"x"}`, 503, "unavailable"},
	} {
		status, body := get(t, tt.agent, tt.method, tt.path, tt.body)
		var e Error
		if err := json.Unmarshal([]byte(body), &e); err != nil || status != tt.status || e.Code != tt.code {
			t.Errorf("%s %s %.40s: %d %s, want %d %s", tt.method, tt.path, tt.body, status, body, tt.status, tt.code)
		}
	}
}
