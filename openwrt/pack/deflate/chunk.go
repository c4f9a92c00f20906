package deflate

import "iter"

// chunkSize is how much text is compressed at once, with the window before it: the unit
// of work, which is the same on every machine.
const chunkSize = 1 << 20

// passes is how often at most a block is parsed again by the costs of its own symbols.
const passes = 3

// worker has the memory for one chunk.
type worker struct {
	finder
	parser
	found []token // matches of all places
	ends  []int32 // where those of each place end, after a zero

	tokens, try, best, better []token
}

// compress works on text[from:to], for a reader that has read text[:from].
func (w *worker) compress(text []byte, from, to int, out *output) {
	w.findAll(text, from, to)
	text = text[from:to]
	w.try = w.parse(text, w.found, w.ends, guess(), w.try[:0])
	w.tokens = w.parse(text, w.found, w.ends, entropy(count(w.try)), w.tokens[:0])
	// Better tokens are better cut in other places, and there improved once more.
	w.better = w.better[:0]
	for b := range w.blocks(text) {
		w.improve(&b)
		w.better = append(w.better, b.tokens...)
	}
	w.tokens, w.better = w.better, w.tokens
	for b := range w.blocks(text) {
		w.improve(&b)
		b.write(out)
	}
}

func (w *worker) findAll(text []byte, from, to int) {
	w.reset()
	for at := max(from-window, 0); at < from; at++ {
		w.find(text[:to], at, 0, nil)
	}
	w.found, w.ends = w.found[:0], append(w.ends[:0], 0)
	for at := from; at < to; at++ {
		w.found = w.find(text[:to], at, min(to-at, maxMatch), w.found)
		w.ends = append(w.ends, int32(len(w.found)))
	}
}

// block is a stretch of text and the tokens for it.
type block struct {
	text   []byte
	from   int // place of the text in its chunk
	tokens []token
}

// blocks are those that the tokens of the chunk are best cut into.
func (w *worker) blocks(text []byte) iter.Seq[block] {
	return func(yield func(block) bool) {
		at, done := 0, 0
		for _, end := range split(w.tokens) {
			b := block{from: at, tokens: w.tokens[done:end]}
			for _, t := range b.tokens {
				at += t.size()
			}
			b.text = text[b.from:at]
			if done = end; !yield(b) {
				return
			}
		}
	}
}

// improve parses a block by the costs of its own symbols, as long as that helps. Its
// tokens stay until the next call.
func (w *worker) improve(b *block) {
	n := count(b.tokens)
	_, least := codeFor(n)
	for range passes {
		w.try = w.parse(b.text, w.found, w.ends[b.from:], entropy(n), w.try[:0])
		n = count(w.try)
		_, size := codeFor(n)
		if size >= least {
			return
		}
		w.best, w.try = w.try, w.best
		least, b.tokens = size, w.best
	}
}
