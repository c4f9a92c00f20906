package netdir

import (
	"math"
	"time"

	"globalnet/internal/identity"
)

// halfLife is after how long half of the circuits that were tried are forgotten.
const halfLife = time.Hour

// measurements is what this node found out about a relay by using it.
type measurements struct {
	bandwidth       int64
	tries, failures float64 // as of decayed
	decayed         time.Time
}

func (m *measurements) decay(now time.Time) {
	if dt := now.Sub(m.decayed); dt > 0 && m.tries > 0 {
		f := math.Exp2(-dt.Seconds() / halfLife.Seconds())
		m.tries *= f
		m.failures *= f
	}
	m.decayed = now
}

func (m measurements) circuits(now time.Time) (tries, failures int) {
	m.decay(now)
	return int(math.Round(m.tries)), int(math.Round(m.failures))
}

// ReportCircuit says how an attempt to build a circuit over these relays went:
// failed is the index of the hop that could not be reached or did not answer
// rightly, -1 if there was none. Hops behind it were not tried.
func (d *Directory) ReportCircuit(now time.Time, hops []identity.NodeID, failed int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, id := range hops {
		if failed >= 0 && i > failed {
			break
		}
		e := d.entries[id]
		if e == nil {
			continue
		}
		e.decay(now)
		e.tries++
		if i == failed {
			e.failures++
		}
		d.measured = true
	}
}

// ReportBandwidth says how much went through a relay when it had to give its
// best. The values are smoothed.
func (d *Directory) ReportBandwidth(now time.Time, id identity.NodeID, bytesPerSecond int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.entries[id]
	if e == nil || bytesPerSecond <= 0 {
		return
	}
	if e.bandwidth == 0 {
		e.bandwidth = bytesPerSecond
	} else {
		e.bandwidth += (bytesPerSecond - e.bandwidth) / 4
	}
	d.measured = true
}
