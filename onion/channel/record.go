package channel

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"globalnet/internal/chacha"
	"globalnet/onion/cell"
)

// A record is some cells written at once:
//
//	number of cells (2, in clear) ‖ their headers, sealed ‖ tag (16) ‖ their bodies
//
// Relay cells lie in it as the circuit made them: they carry a layer a hop
// already. The bodies of control cells are sealed whole. So the channel spends
// one pass over six bytes a cell.

const (
	keysLabel    = "globalnet channel keys"
	ratchetLabel = "globalnet channel ratchet"
	// recordsPerKey is after how many records the keys of a direction step on, one way.
	recordsPerKey = 1 << 16
)

var errRecord = errors.New("record does not verify")

// protection is the keys of one direction of a channel.
type protection struct {
	aes      bool
	seed     [32]byte
	head     cipher.AEAD
	control  cipher.AEAD
	records  uint64 // since the last step
	controls uint64
	nonce    [chacha.NonceSize]byte
}

func newProtection(useAES bool, seed [32]byte) *protection {
	p := &protection{aes: useAES, seed: seed}
	p.rekey()
	return p
}

func (p *protection) rekey() {
	keys := expand(p.seed, keysLabel, 64)
	p.head, p.control = p.newAEAD(keys[:32]), p.newAEAD(keys[32:])
	p.records, p.controls = 0, 0
}

func (p *protection) newAEAD(key []byte) (a cipher.AEAD) {
	var err error
	if p.aes {
		var b cipher.Block
		if b, err = aes.NewCipher(key); err == nil {
			a, err = cipher.NewGCM(b)
		}
	} else {
		a, err = chacha.New(key)
	}
	if err != nil {
		panic(err) // only for keys of a wrong size
	}
	return a
}

func expand(seed [32]byte, label string, size int) []byte {
	out, err := hkdf.Expand(sha256.New, seed[:], label, size)
	if err != nil {
		panic(err) // only for sizes beyond 8160
	}
	return out
}

// next returns the nonce of the count and raises it.
func (p *protection) next(count *uint64) []byte {
	binary.BigEndian.PutUint64(p.nonce[4:], *count)
	*count++
	return p.nonce[:]
}

// done ends a record.
func (p *protection) done() {
	if p.records >= recordsPerKey {
		copy(p.seed[:], expand(p.seed, ratchetLabel, 32))
		p.rekey()
	}
}

// headSize is what precedes the bodies of a record of n cells.
func headSize(n int) int { return cell.RecordPrefix + n*cell.HeaderSize + cell.RecordTag }

// sealHeads appends what precedes the bodies.
func (p *protection) sealHeads(dst []byte, heads []cell.Header) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(heads)))
	prefix := dst[len(dst)-cell.RecordPrefix:]
	at := len(dst)
	for _, h := range heads {
		dst = cell.AppendHeader(dst, h)
	}
	return p.head.Seal(dst[:at], p.next(&p.records), dst[at:], prefix)
}

// sealControl makes a control cell's body of size bytes in place: payload and
// padding are in its beginning already.
func (p *protection) sealControl(body []byte) {
	plain := body[:len(body)-cell.TagSize]
	p.control.Seal(plain[:0], p.next(&p.controls), plain, nil)
}

// recordCells reads how many cells the record at b has.
func recordCells(b []byte) (int, error) {
	n := int(binary.BigEndian.Uint16(b))
	if n == 0 || n > cell.MaxRecord {
		return 0, fmt.Errorf("record of %d cells", n)
	}
	return n, nil
}

// openHeads reads the headers of the record of n cells at b, in place.
func (p *protection) openHeads(dst []cell.Header, b []byte, n int) ([]cell.Header, error) {
	sealed := b[cell.RecordPrefix:headSize(n)]
	plain, err := p.head.Open(sealed[:0], p.next(&p.records), sealed, b[:cell.RecordPrefix])
	if err != nil {
		return nil, errRecord
	}
	for range n {
		h, err := cell.ParseHeader(plain)
		if err != nil {
			return nil, err
		}
		dst = append(dst, h)
		plain = plain[cell.HeaderSize:]
	}
	return dst, nil
}

// openControl opens a control cell's body in place and returns what it says:
// length (2) ‖ payload ‖ zeros.
func (p *protection) openControl(body []byte) ([]byte, error) {
	plain, err := p.control.Open(body[:0], p.next(&p.controls), body, nil)
	if err != nil {
		return nil, errRecord
	}
	n := int(binary.BigEndian.Uint16(plain))
	if n > len(plain)-2 {
		return nil, fmt.Errorf("control cell with %d bytes", n)
	}
	return plain[2 : 2+n], nil
}
