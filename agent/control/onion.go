package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"globalnet/internal/identity"
)

// Onion is the onion as the API shows and steers it. An *Error it returns is passed on.
type Onion interface {
	Status() OnionStatus
	Relays() []Relay
	Circuits() []Circuit
	// CloseCircuit closes a circuit and its streams.
	CloseCircuit(id uint32) error
	// NewIdentity has new streams take circuits that nothing was sent through.
	NewIdentity()
	// Tunnel opens a listener that leads along a path, until ctx ends. Tell is called
	// once when it is open, and for each connection that does not come about.
	Tunnel(ctx context.Context, path string, tell func(TunnelEvent)) error
}

// OnionStatus is what this node knows of itself in the onion.
type OnionStatus struct {
	Relay    bool     `json:"relay"` // carries circuits of others
	Exit     string   `json:"exit"`  // ports that leave here, as TCP 80,443; empty: none
	Relays   int      `json:"relays"`
	Exits    int      `json:"exits"`
	Hops     int      `json:"hops"`            // wanted of a circuit
	Short    int      `json:"short,omitempty"` // hops of the last circuit that had to be shorter
	Relaxed  []string `json:"relaxed"`         // rules that the last path could not keep
	Ready    int      `json:"ready"`           // circuits that wait to be used
	Used     int      `json:"used"`
	Carried  int64    `json:"carried"` // circuits of others now
	Streams  int64    `json:"streams"` // of others that end here now
	Channels int      `json:"channels"`
	Guards   []Guard  `json:"guards"`
	Doors    []Door   `json:"doors"`
	Memory   Memory   `json:"memory"`
}

// Guard is a relay that circuits of this node begin with.
type Guard struct {
	Node     identity.NodeID `json:"node"`
	Listed   bool            `json:"listed"` // is there
	Used     bool            `json:"used"`   // built a circuit at some time
	Down     bool            `json:"down"`
	Resting  bool            `json:"resting"` // too many of its circuits failed
	Circuits int             `json:"circuits"`
	Failed   int             `json:"failed"`
}

// Door is a proxy or tunnel of the configuration.
type Door struct {
	Kind  string `json:"kind"` // "proxy" or "tunnel"
	Name  string `json:"name"`
	Open  bool   `json:"open"`
	Where string `json:"where"`
	Error string `json:"error,omitempty"`
}

// Memory is what waits in queues, and its bound.
type Memory struct {
	Cells       int    `json:"cells"` // of channels
	CellsKilled uint64 `json:"cells_killed"`
	Bytes       int    `json:"bytes"` // of streams that end here
	BytesKilled uint64 `json:"bytes_killed"`
}

// Relay is a relay that this node knows.
type Relay struct {
	Node      identity.NodeID `json:"node"`
	Sequence  uint64          `json:"sequence"`
	Exit      string          `json:"exit"`
	Families  int             `json:"families"`
	Vouches   int             `json:"vouches"`
	Known     time.Duration   `json:"known_ns"`
	Bandwidth int64           `json:"bandwidth"` // bytes a second, measured here; 0: not yet
	Tries     int             `json:"tries"`
	Failures  int             `json:"failures"`
}

// Circuit is a circuit of this node.
type Circuit struct {
	ID      uint32            `json:"id"`
	Purpose string            `json:"purpose"`
	Path    []identity.NodeID `json:"path"`
	Age     time.Duration     `json:"age_ns"`
	Used    bool              `json:"used"`
	Closing bool              `json:"closing"` // takes no new streams
	Streams int               `json:"streams"`
	RxBytes uint64            `json:"rx_bytes"`
	TxBytes uint64            `json:"tx_bytes"`
	RTT     time.Duration     `json:"rtt_ns"`
}

// TunnelEvent is a line of the answer to POST /v1/tunnel.
type TunnelEvent struct {
	Listen string `json:"listen,omitempty"` // it is open here
	Error  string `json:"error,omitempty"`  // why a connection did not come about
}

// TunnelRequest is the body of POST /v1/tunnel.
type TunnelRequest struct {
	Path string `json:"path"`
}

// CloseRequest is the body of POST /v1/circuits/close.
type CloseRequest struct {
	ID uint32 `json:"id"`
}

const onionOff = "onion_off"

// onion serves what ask returns.
func (a api) onion(ask func(o Onion, r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		o := a.agent.Onion()
		if o == nil {
			fail(w, http.StatusConflict, onionIsOff())
			return
		}
		v, err := ask(o, r)
		if err != nil {
			failWith(w, err)
			return
		}
		answer(w, http.StatusOK, v)
	}
}

func onionIsOff() Error {
	return Error{Code: onionOff, Message: "the onion is switched off", Hint: "set option enabled of section onion to 1, and restart the agent"}
}

func failWith(w http.ResponseWriter, err error) {
	e, known := errors.AsType[*Error](err)
	switch {
	case !known:
		fail(w, http.StatusServiceUnavailable, Error{Code: "unavailable", Message: err.Error(), Hint: "the agent is starting or stopping: try again"})
	case e.Code == BadRequest:
		fail(w, http.StatusBadRequest, *e)
	default:
		fail(w, http.StatusConflict, *e)
	}
}

func onionStatus(o Onion, _ *http.Request) (any, error) {
	s := o.Status()
	s.Relaxed, s.Guards, s.Doors = orEmpty(s.Relaxed), orEmpty(s.Guards), orEmpty(s.Doors)
	return s, nil
}

func relays(o Onion, _ *http.Request) (any, error) { return orEmpty(o.Relays()), nil }

func circuits(o Onion, _ *http.Request) (any, error) {
	list := orEmpty(o.Circuits())
	for i := range list {
		list[i].Path = orEmpty(list[i].Path)
	}
	return list, nil
}

func closeCircuit(o Onion, r *http.Request) (any, error) {
	var req CloseRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		return nil, &Error{Code: BadRequest, Message: "the body is no request to close: " + err.Error()}
	}
	return struct{}{}, o.CloseCircuit(req.ID)
}

func newIdentity(o Onion, _ *http.Request) (any, error) {
	o.NewIdentity()
	return struct{}{}, nil
}

// tunnel serves a tunnel for as long as the request lasts: lines of JSON. It is
// outside the bounds of time that other requests have.
func (a api) tunnel(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	o := a.agent.Onion()
	if o == nil {
		fail(w, http.StatusConflict, onionIsOff())
		return
	}
	var req TunnelRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&req); err != nil {
		fail(w, http.StatusBadRequest, Error{Code: BadRequest, Message: "the body is no request for a tunnel: " + err.Error()})
		return
	}
	control := http.NewResponseController(w)
	control.SetWriteDeadline(time.Time{})
	control.SetReadDeadline(time.Time{})
	events := make(chan TunnelEvent, 16)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		ended <- o.Tunnel(ctx, req.Path, func(e TunnelEvent) {
			select {
			case events <- e:
			default: // nobody reads so many
			}
		})
	}()
	begun := false
	for {
		select {
		case e := <-events:
			begun = true
			if json.NewEncoder(w).Encode(e) != nil || control.Flush() != nil {
				cancel()
				<-ended
				return
			}
		case err := <-ended:
			if err != nil && !begun {
				failWith(w, err)
			}
			return
		}
	}
}
