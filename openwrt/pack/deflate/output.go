package deflate

// output is a stretch of a stream that may begin at any bit: coded blocks, and stored
// ones between them, which have to wait for a byte to begin.
type output struct {
	runs []outputRun
}

// outputRun is either bits or a text to store.
type outputRun struct {
	coded  bitWriter
	stored []byte
}

// bits is where a coded block goes.
func (o *output) bits() *bitWriter {
	if n := len(o.runs); n == 0 || o.runs[n-1].stored != nil {
		o.runs = append(o.runs, outputRun{})
	}
	return &o.runs[len(o.runs)-1].coded
}

// store adds stored blocks.

func (o *output) store(text []byte) {
	o.runs = append(o.runs, outputRun{stored: text})
}

// storedMost is the most that a stored block holds.
const storedMost = 1<<16 - 1

// storedBits is the most that storing n bytes takes.
func storedBits(n int) int { return 8*n + (n+storedMost-1)/storedMost*(3+7+32) }

func (o *output) write(w *bitWriter) {
	for i := range o.runs {
		r := &o.runs[i]
		w.append(&r.coded)
		for rest := r.stored; len(rest) > 0; {
			piece := rest[:min(len(rest), storedMost)]
			rest = rest[len(piece):]
			w.put(0, 3)
			w.align()
			w.put(uint64(len(piece)), 16)
			w.put(uint64(^uint16(len(piece))), 16)
			w.bytes = append(w.bytes, piece...)
		}
	}
}
