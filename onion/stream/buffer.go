package stream

import "sync"

const blockSize = 16 << 10

// block is a piece of what has arrived.
type block struct {
	bytes      [blockSize]byte
	start, end int // what is not read yet
}

var blocks = sync.Pool{New: func() any { return new(block) }}

// buffer is what has arrived and is not read: blocks of a pool, so that nothing is
// moved as it grows and nothing is kept when it is empty.
type buffer struct {
	blocks []*block
	n      int
}

func (b *buffer) write(p []byte) {
	b.n += len(p)
	for len(p) > 0 {
		var last *block
		if len(b.blocks) > 0 {
			last = b.blocks[len(b.blocks)-1]
		}
		if last == nil || last.end == blockSize {
			last = blocks.Get().(*block)
			last.start, last.end = 0, 0
			b.blocks = append(b.blocks, last)
		}
		m := copy(last.bytes[last.end:], p)
		last.end += m
		p = p[m:]
	}
}

func (b *buffer) read(p []byte) (n int) {
	for n < len(p) && b.n > 0 {
		first := b.blocks[0]
		m := copy(p[n:], first.bytes[first.start:first.end])
		first.start += m
		n += m
		b.n -= m
		if first.start == first.end {
			blocks.Put(b.shift())
		}
	}
	return n
}

// shift takes the first block out; whoever takes it puts it back into the pool.
func (b *buffer) shift() *block {
	first := b.blocks[0]
	b.n -= first.end - first.start
	k := copy(b.blocks, b.blocks[1:])
	b.blocks[k] = nil
	if b.blocks = b.blocks[:k]; k == 0 {
		b.blocks = nil
	}
	return first
}

// drop empties the buffer and returns how many bytes there were.
func (b *buffer) drop() int {
	n := b.n
	for len(b.blocks) > 0 {
		blocks.Put(b.shift())
	}
	return n
}
