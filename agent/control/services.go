package control

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"globalnet/internal/identity"
)

// Services are the hidden services of this node. An *Error they return is passed on.
type Services interface {
	// Services lists those of the configuration.
	Services() []Service
	// AddService writes one into the configuration, and takes it into use.
	AddService(ctx context.Context, r ServiceRequest) (Service, error)
	// RemoveService takes one out of the configuration; its key stays.
	RemoveService(ctx context.Context, name string) error
}

// Service is a hidden service of this node.
type Service struct {
	Name       string            `json:"name"`
	Address    string            `json:"address"` // empty if its key cannot be read
	Ports      []ServicePort     `json:"ports"`
	Restricted bool              `json:"restricted"`
	Allowed    int               `json:"allowed"` // clients that have keys
	SingleHop  bool              `json:"single_hop"`
	Points     []identity.NodeID `json:"points"`       // introduction points
	Published  time.Duration     `json:"published_ns"` // how long ago; -1: never
	Stored     int               `json:"stored"`       // replicas that keep it
	Clients    int               `json:"clients"`      // that are connected now
	Streams    int               `json:"streams"`
	Refused    uint64            `json:"refused"`
	Error      string            `json:"error,omitempty"` // why it is not reachable
}

// ServicePort is a port of a service and what is behind it, as in the configuration.
type ServicePort struct {
	Port   uint16 `json:"port"`
	Target string `json:"target"`
}

// ServiceRequest is the body of POST /v1/services/add.
type ServiceRequest struct {
	Name       string        `json:"name"`
	Ports      []ServicePort `json:"ports"`
	Listing    bool          `json:"listing,omitempty"`
	Restricted bool          `json:"restricted,omitempty"`
	SingleHop  bool          `json:"single_hop,omitempty"`
	Points     int           `json:"points,omitempty"`
}

// ServiceName is the body of POST /v1/services/remove.
type ServiceName struct {
	Name string `json:"name"`
}

// services serves what ask returns.
func (a api) services(ask func(s Services, r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s := a.agent.Services()
		if s == nil {
			fail(w, http.StatusConflict, onionIsOff())
			return
		}
		v, err := ask(s, r)
		if err != nil {
			failWith(w, err)
			return
		}
		answer(w, http.StatusOK, v)
	}
}

func listServices(s Services, _ *http.Request) (any, error) { return servicesOf(s), nil }

func servicesOf(s Services) []Service {
	list := slices.Clone(orEmpty(s.Services()))
	for i := range list {
		list[i].Ports, list[i].Points = orEmpty(list[i].Ports), orEmpty(list[i].Points)
	}
	return list
}

func addService(s Services, r *http.Request) (any, error) {
	var req ServiceRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		return nil, &Error{Code: BadRequest, Message: "the body is no service: " + err.Error()}
	}
	if req.Name == "" || len(req.Ports) == 0 {
		return nil, &Error{Code: BadRequest, Message: "a service has a name and at least one port"}
	}
	return s.AddService(r.Context(), req)
}

func removeService(s Services, r *http.Request) (any, error) {
	var req ServiceName
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		return nil, &Error{Code: BadRequest, Message: "the body is no name of a service: " + err.Error()}
	}
	return struct{}{}, s.RemoveService(r.Context(), req.Name)
}

// Services asks for the hidden services of the node.
func (c *Client) Services(ctx context.Context) ([]Service, error) {
	var list []Service
	return list, c.call(ctx, http.MethodGet, "/v1/services", nil, &list)
}

// AddService has the agent offer a service.
func (c *Client) AddService(ctx context.Context, r ServiceRequest) (Service, error) {
	var s Service
	return s, c.call(ctx, http.MethodPost, "/v1/services/add", r, &s)
}

// RemoveService has the agent give a service up.
func (c *Client) RemoveService(ctx context.Context, name string) error {
	var none struct{}
	return c.call(ctx, http.MethodPost, "/v1/services/remove", ServiceName{name}, &none)
}
