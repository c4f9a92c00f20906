package onionlab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

const hostControlPort = 9052

// renewInterval is how rarely tor obeys NEWNYM.
const renewInterval = 10 * time.Second

// NewTorServices starts the network of NewTor, and a host of onion services.
func NewTorServices(ctx context.Context, w *World) (Services, error) {
	o, err := NewTor(ctx, w)
	if err != nil {
		return nil, err
	}
	t := o.(*Tor)
	if err := t.startHost(ctx); err != nil {
		t.Close()
		return nil, fmt.Errorf("tor's host of services: %w", err)
	}
	return t, nil
}

// startHost returns once the host has circuits.
func (t *Tor) startHost(ctx context.Context) (err error) {
	t.host, err = t.start(host, fmt.Sprintf("SocksPort 0\nControlPort 127.0.0.1:%d\n", hostControlPort))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if t.hosting == nil {
			t.hosting, err = t.world.control(host, hostControlPort, "HS_DESC")
		}
		if t.hosting != nil {
			var established string
			established, err = t.hosting.ask("GETINFO status/circuit-established")
			if strings.Contains(established, "established=1") {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Offer implements Services. It waits until the first descriptor is stored: a client
// that asks before does not ask again for long.
func (t *Tor) Offer(context.Context) (string, error) {
	if t.service != "" {
		if _, err := t.hosting.ask("DEL_ONION " + t.service); err != nil {
			return "", err
		}
	}
	t.hosting.events = nil
	answer, err := t.hosting.ask(fmt.Sprintf("ADD_ONION NEW:ED25519-V3 Flags=DiscardPK Port=%d,%s", servicePort, t.world.target()))
	if err != nil {
		return "", err
	}
	_, id, ok := strings.Cut(answer, "ServiceID=")
	if !ok {
		return "", fmt.Errorf("tor offers %q", answer)
	}
	t.service, _, _ = strings.Cut(id, "\n")
	for {
		words, err := t.hosting.event()
		if err != nil {
			return "", err
		}
		if len(words) > 3 && words[2] == "UPLOADED" && words[3] == t.service {
			return fmt.Sprintf("%s.onion:%d", t.service, servicePort), nil
		}
	}
}

// Fresh implements Services: all credentials share descriptors, until NEWNYM.
func (t *Tor) Fresh(ctx context.Context, cached bool) (string, error) {
	t.visits++
	who := fmt.Sprintf("visit%d", t.visits)
	if cached {
		return who, nil
	}
	if err := t.open(); err != nil {
		return "", err
	}
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case <-time.After(time.Until(t.renewed.Add(renewInterval))):
	}
	_, err := t.control.ask("SIGNAL NEWNYM")
	t.renewed = time.Now()
	return who, err
}
