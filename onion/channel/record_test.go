package channel

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"globalnet/onion/cell"
)

var update = flag.Bool("update", false, "write testdata anew")

// recordVector is two records of one direction: a Destroy (reason 9) and a small
// relay cell whose body is all 0x5a; then the Destroy alone. All is hex.
type recordVector struct {
	AES     bool
	Seed    string
	Records []string
}

func TestRecordVectors(t *testing.T) {
	const name = "testdata/records.json"
	var got []recordVector
	for _, aes := range []bool{false, true} {
		seed := [32]byte{0: 1, 31: 0xff}
		send, get := newProtection(aes, seed), newProtection(aes, seed)
		v := recordVector{AES: aes, Seed: hex.EncodeToString(seed[:])}
		for _, heads := range [][]cell.Header{
			{{Circ: 0x80000007, Command: cell.Destroy, Flags: cell.Small}, {Circ: 9, Command: cell.Relay, Flags: cell.Small | cell.Ratchet}},
			{{Circ: 0x80000007, Command: cell.Destroy, Flags: cell.Small}},
		} {
			record := send.sealHeads(nil, heads)
			for _, h := range heads {
				body := bytes.Repeat([]byte{0x5a}, h.BodySize())
				if h.Command.Control() {
					clear(body)
					binary.BigEndian.PutUint16(body, 1)
					body[2] = 9
					send.sealControl(body)
				}
				record = append(record, body...)
			}
			v.Records = append(v.Records, hex.EncodeToString(record))
			send.done()

			n, err := recordCells(record)
			if err != nil || n != len(heads) {
				t.Fatalf("%d cells, %v", n, err)
			}
			opened, err := get.openHeads(nil, record, n)
			if err != nil || opened[0] != heads[0] {
				t.Fatalf("%+v, %v", opened, err)
			}
			payload, err := get.openControl(record[headSize(n) : headSize(n)+cell.SmallBody])
			if err != nil || !bytes.Equal(payload, []byte{9}) {
				t.Fatalf("%v, %v", payload, err)
			}
			get.done()
		}
		got = append(got, v)
	}
	text, err := json.MarshalIndent(got, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if *update {
		if err := os.WriteFile(name, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(name); err != nil || !bytes.Equal(text, want) {
		t.Errorf("the records are now\n%s%v", text, err)
	}
}
