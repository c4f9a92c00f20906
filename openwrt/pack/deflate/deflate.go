// Package deflate writes gzip files and raw deflate streams (RFC 1951 and 1952) that
// are as small as they can be made in some seconds: for what is compressed once, and
// then kept in small flash by many. Any reader of these formats reads them.
//
// It looks for the nearest match of every length at every place, finds the cheapest way
// through them by what each symbol costs, which it learns from the last way found, and
// cuts the text into blocks where codes of their own pay. All costs are integers and the
// pieces of work have a fixed size: the same text gives the same bytes on every machine,
// however many processors it has.
//
// A Packer owns the memory of workers and what it remembers. None of this is in the
// router's binary.
package deflate

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"runtime"
	"sync"
)

// MemberSize is from where on one Write is compressed by itself, as if nothing stood
// before it: the same program in several packages is then work for once.
const MemberSize = 256 << 10

// maxWorkers bounds the memory: a worker takes 35 MB for programs, 150 MB for texts
// made to be slow.
const maxWorkers = 4

// Packer compresses, and remembers large members. It may be used from several goroutines.
type Packer struct {
	workers chan *worker

	mu    sync.Mutex
	known map[[sha256.Size]byte]*member
}

// member is a stretch of a stream that was compressed by itself.
type member struct {
	once sync.Once
	out  output
}

// New returns a packer that knows nothing.
func New() *Packer {
	p := &Packer{workers: make(chan *worker, maxWorkers), known: make(map[[sha256.Size]byte]*member)}
	for range min(runtime.GOMAXPROCS(0), maxWorkers) {
		p.workers <- new(worker)
	}
	return p
}

// Stream is a text on its way to be compressed: all of it is kept until the end.
type Stream struct {
	packer  *Packer
	members [][]byte
	open    bool // the last member grows with the next small Write
	sum     uint32
	size    uint32
}

// Stream begins a stream.
func (p *Packer) Stream() *Stream { return &Stream{packer: p} }

// Write adds text to the stream. It never fails.
func (s *Stream) Write(text []byte) (int, error) {
	s.sum = crc32.Update(s.sum, crc32.IEEETable, text)
	s.size += uint32(len(text))
	large := len(text) >= MemberSize
	if large || !s.open {
		s.members = append(s.members, nil)
	}
	last := &s.members[len(s.members)-1]
	*last = append(*last, text...)
	s.open = !large
	return len(text), nil
}

// Raw returns the stream without a frame.
func (s *Stream) Raw() []byte {
	var w bitWriter
	s.write(&w)
	return w.bytes
}

// Gzip returns the stream as a gzip file without name and time.
func (s *Stream) Gzip() []byte {
	const deflated, smallest, unknownSystem = 8, 2, 255
	w := bitWriter{bytes: []byte{0x1f, 0x8b, deflated, 0, 0, 0, 0, 0, smallest, unknownSystem}}
	s.write(&w)
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(w.bytes, s.sum), s.size)
}

func (s *Stream) write(w *bitWriter) {
	for _, text := range s.members {
		s.packer.member(text).write(w)
	}
	// No block knows that it is the last: an empty one ends the stream.
	const final, fixed = 1, 1
	w.put(final|fixed<<1, 3)
	w.put(0, 7) // end of block
	w.align()
}

func (p *Packer) member(text []byte) *output {
	switch {
	case len(text) < MemberSize:
		return p.compress(text)
	case bytes.HasPrefix(text, []byte{0x1f, 0x8b}):
		out := new(output) // a gzip file cannot become smaller
		out.store(text)
		return out
	}
	id := sha256.Sum256(text)
	p.mu.Lock()
	m := p.known[id]
	if m == nil {
		m = new(member)
		p.known[id] = m
	}
	p.mu.Unlock()
	m.once.Do(func() { m.out = *p.compress(text) })
	return &m.out
}

// compress works on all chunks at once, as far as there are workers.
func (p *Packer) compress(text []byte) *output {
	outs := make([]output, (len(text)+chunkSize-1)/chunkSize)
	var wg sync.WaitGroup
	for i := range outs {
		w := <-p.workers
		wg.Go(func() {
			w.compress(text, i*chunkSize, min((i+1)*chunkSize, len(text)), &outs[i])
			p.workers <- w
		})
	}
	wg.Wait()
	all := new(output)
	for _, o := range outs {
		all.runs = append(all.runs, o.runs...)
	}
	return all
}
