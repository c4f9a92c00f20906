package dht

import (
	"net/netip"

	"globalnet/mesh/dht/wire"
)

const (
	perSource       = 4
	assemblyTimeout = 10 * second
)

// assemblyKey separates records on their way in: by who sends them and which they are.
type assemblyKey struct {
	from   netip.Addr
	digest wire.Digest
}

// assembly is a record of which segments are missing.
type assembly struct {
	data    []byte
	missing int
	have    [4]bool
	begun   tick
}

// assemble adds a segment and returns the record once it is whole.
func (d *DHT) assemble(from netip.Addr, b wire.Store) ([]byte, wire.Status) {
	if int(b.Total) == len(b.Data) {
		return b.Data, wire.Stored
	}
	k := assemblyKey{from, b.Digest}
	a := d.assemblies[k]
	if a == nil {
		if !d.assemblyPlace(from) {
			return nil, wire.Busy
		}
		segments := (int(b.Total) + wire.SegmentSize - 1) / wire.SegmentSize
		a = &assembly{data: make([]byte, b.Total), missing: segments, begun: d.now}
		d.assemblies[k] = a
	}
	if len(a.data) != int(b.Total) {
		return nil, wire.BadRecord
	}
	if i := int(b.Offset) / wire.SegmentSize; !a.have[i] {
		a.have[i] = true
		a.missing--
		copy(a.data[b.Offset:], b.Data)
	}
	if a.missing > 0 {
		return nil, wire.Partial
	}
	delete(d.assemblies, k)
	return a.data, wire.Stored
}

func (d *DHT) assemblyPlace(from netip.Addr) bool {
	d.dropAssemblies()
	mine := 0
	for k := range d.assemblies {
		if k.from == from {
			mine++
		}
	}
	return mine < perSource && len(d.assemblies) < d.bounds.assemblies
}

func (d *DHT) dropAssemblies() {
	for k, a := range d.assemblies {
		if d.now-a.begun > assemblyTimeout {
			delete(d.assemblies, k)
		}
	}
}
