package dht

import "globalnet/mesh/dht/wire"

// fetch brings a record that a contact said it holds, by all its segments at once.
type fetch struct {
	d        *DHT
	contact  *contact
	key      Key
	meta     wire.Meta
	priority priority
	done     func(encoded []byte) // nil: it did not come

	data    []byte
	missing int
	renewed bool
	over    bool
}

func (d *DHT) newFetch(c *contact, key Key, meta wire.Meta, p priority, done func([]byte)) *fetch {
	return &fetch{d: d, contact: c, key: key, meta: meta, priority: p, done: done}
}

func (f *fetch) start() (requests int) {
	f.data = make([]byte, f.meta.Total)
	for at := 0; at < len(f.data); at += wire.SegmentSize {
		f.missing++
		f.ask(uint16(at))
	}
	return f.missing
}

func (f *fetch) ask(offset uint16) {
	f.d.ask(f.contact, wire.Fetch{
		Token: f.d.validToken(f.contact), Key: f.key, Digest: f.meta.Digest, Offset: offset,
	}, f.priority, f)
}

func (f *fetch) answered(r *request, b wire.Body) {
	if f.over {
		return
	}
	asked := r.body.(wire.Fetch)
	switch b := b.(type) {
	case wire.Answer:
		if b.Status != wire.BadToken || asked.Token == f.d.validToken(f.contact) || f.renewed && asked.Offset == 0 {
			f.end(nil)
			return
		}
		f.renewed = true
		f.ask(asked.Offset)
	case wire.Segment:
		if b.Total != f.meta.Total || b.Offset != asked.Offset {
			f.end(nil)
			return
		}
		copy(f.data[b.Offset:], b.Data)
		if f.missing--; f.missing == 0 {
			f.end(f.data)
		}
	}
}

func (f *fetch) slow(*request)   {}
func (f *fetch) failed(*request) { f.end(nil) }

func (f *fetch) end(encoded []byte) {
	if !f.over {
		f.over = true
		f.done(encoded)
	}
}
