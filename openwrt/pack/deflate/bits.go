package deflate

// bitWriter collects bits, the lowest first.
type bitWriter struct {
	bytes []byte
	acc   uint64
	n     uint // bits in acc, fewer than eight between calls
}

// put appends the n lowest bits of v, at most 48; those above are zero.
func (w *bitWriter) put(v uint64, n int) {
	w.acc |= v << w.n
	for w.n += uint(n); w.n >= 8; w.n -= 8 {
		w.bytes = append(w.bytes, byte(w.acc))
		w.acc >>= 8
	}
}

// align fills the byte with zeros.
func (w *bitWriter) align() {
	if w.n > 0 {
		w.put(0, int(8-w.n))
	}
}

// append appends what another writer has collected.
func (w *bitWriter) append(o *bitWriter) {
	if w.n == 0 {
		w.bytes = append(w.bytes, o.bytes...)
	} else {
		for _, b := range o.bytes {
			w.put(uint64(b), 8)
		}
	}
	w.put(o.acc, int(o.n))
}
