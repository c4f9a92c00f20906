package netdir

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"globalnet/internal/identity"
)

const (
	bucketCount = 256
	digestSize  = 16
	journalSize = 1024
)

type digest [digestSize]byte

// bucket holds the entries with a descriptor whose NodeID begins with one octet.
type bucket struct {
	entries []*entry // by NodeID
	dirty   bool
	digest  digest
}

func (b *bucket) find(node identity.NodeID) (int, bool) {
	return slices.BinarySearchFunc(b.entries, node, func(e *entry, node identity.NodeID) int {
		return bytes.Compare(e.node[:], node[:])
	})
}

func (b *bucket) insert(e *entry) {
	if i, ok := b.find(e.node); !ok {
		b.entries = slices.Insert(b.entries, i, e)
	}
	b.dirty = true
}

func (b *bucket) remove(e *entry) {
	if i, ok := b.find(e.node); ok {
		b.entries = slices.Delete(b.entries, i, i+1)
	}
	b.dirty = true
}

// sum returns the digest over NodeID ‖ sequence ‖ hash of all entries; zeros if
// there are none.
func (b *bucket) sum() digest {
	if !b.dirty {
		return b.digest
	}
	b.dirty, b.digest = false, digest{}
	if len(b.entries) == 0 {
		return b.digest
	}
	h := sha256.New()
	var sequence [8]byte
	for _, e := range b.entries {
		h.Write(e.node[:])
		binary.BigEndian.PutUint64(sequence[:], e.sequence)
		h.Write(sequence[:])
		h.Write(e.sum[:])
	}
	copy(b.digest[:], h.Sum(nil))
	return b.digest
}

func (d *Directory) bucketOf(node identity.NodeID) *bucket { return &d.buckets[node[0]] }

// digests returns those of all buckets, and the one over them.
func (d *Directory) digests(now time.Time) (root digest, all [bucketCount]digest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expire(now)
	h := sha256.New()
	for i := range d.buckets {
		all[i] = d.buckets[i].sum()
		h.Write(all[i][:])
	}
	copy(root[:], h.Sum(nil))
	return root, all
}

// nodesIn returns the nodes with a descriptor in the buckets where differs is
// true, by NodeID.
func (d *Directory) nodesIn(differs *[bucketCount]bool) (nodes []identity.NodeID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.buckets {
		if differs[i] {
			for _, e := range d.buckets[i].entries {
				nodes = append(nodes, e.node)
			}
		}
	}
	return nodes
}

// offers appends what there is of these nodes. What is nearly too old is left
// out, and what came from but, if but is not zero.
func (d *Directory) offers(now time.Time, dst []offer, nodes []identity.NodeID, but identity.NodeID) []offer {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expire(now)
	for _, node := range nodes {
		e := d.entries[node]
		if e == nil || e.d == nil || !but.IsZero() && e.from == but {
			continue
		}
		if age := now.Sub(e.born); age < MaxAge-ageMargin {
			dst = append(dst, offer{node, e.revision, age})
		}
	}
	return dst
}

// journal is the nodes whose descriptors changed last, oldest first.
type journal struct {
	nodes []identity.NodeID
	next  uint64 // number of the one that comes after the last
}

func (j *journal) add(node identity.NodeID) {
	if len(j.nodes) >= journalSize {
		j.nodes = append(j.nodes[:0], j.nodes[journalSize/2:]...)
	}
	j.nodes = append(j.nodes, node)
	j.next++
}

// news returns up to most nodes that changed since number cursor, and the number
// to go on from. If some of them are forgotten, ok is false.
func (d *Directory) news(cursor uint64, most int) (nodes []identity.NodeID, next uint64, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	first := d.recent.next - uint64(len(d.recent.nodes))
	if cursor < first {
		return nil, d.recent.next, false
	}
	list := d.recent.nodes[cursor-first:]
	list = list[:min(len(list), most)]
	return append(nodes, list...), cursor + uint64(len(list)), true
}

// newest returns the number from which news begins when nothing happened yet.
func (d *Directory) newest() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.recent.next
}

// wants reports whether an offer of a neighbour is worth asking for.
func (d *Directory) wants(now time.Time, o offer, from identity.NodeID) (wants, fresh bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v := d.judge(now, o, from)
	if v != wanted && v != have {
		d.refuse(v)
	}
	return v == wanted, d.entries[o.node] == nil
}

// copyOf returns a descriptor and its age, to be handed on.
func (d *Directory) copyOf(now time.Time, node identity.NodeID) (raw []byte, age time.Duration, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expire(now)
	e := d.entries[node]
	if e == nil || e.d == nil {
		return nil, 0, false
	}
	return e.raw, max(now.Sub(e.born), 0), true
}
