package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// Onion asks for the state of the onion.
func (c *Client) Onion(ctx context.Context) (OnionStatus, error) {
	var s OnionStatus
	return s, c.call(ctx, http.MethodGet, "/v1/onion", nil, &s)
}

// Relays asks for the relays that are known.
func (c *Client) Relays(ctx context.Context) ([]Relay, error) {
	var list []Relay
	return list, c.call(ctx, http.MethodGet, "/v1/relays", nil, &list)
}

// Circuits asks for the circuits of the node.
func (c *Client) Circuits(ctx context.Context) ([]Circuit, error) {
	var list []Circuit
	return list, c.call(ctx, http.MethodGet, "/v1/circuits", nil, &list)
}

// CloseCircuit closes a circuit.
func (c *Client) CloseCircuit(ctx context.Context, id uint32) error {
	var none struct{}
	return c.call(ctx, http.MethodPost, "/v1/circuits/close", CloseRequest{id}, &none)
}

// NewIdentity has new streams take new circuits.
func (c *Client) NewIdentity(ctx context.Context) error {
	var none struct{}
	return c.call(ctx, http.MethodPost, "/v1/newnym", nil, &none)
}

// Tunnel has the agent serve a tunnel until ctx ends, and tells what happens.
func (c *Client) Tunnel(ctx context.Context, path string, tell func(TunnelEvent)) error {
	body, err := json.Marshal(TunnelRequest{path})
	if err != nil {
		return err
	}
	answer, done, err := c.last(ctx, http.MethodPost, tunnelPath, body)
	if answer == nil {
		return err
	}
	defer done()
	for d := json.NewDecoder(answer.Body); ; {
		var e TunnelEvent
		if err := d.Decode(&e); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("the agent has ended the tunnel: %w", err)
		}
		tell(e)
	}
}
