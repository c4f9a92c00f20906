package scenario

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"globalnet/agent/control"
	"globalnet/internal/identity"
	"globalnet/lab"
	"globalnet/lab/onionlab"
)

// killHall has relays enough that one can always be gone.
const killHall = `router a b c d e f g h i j
segment hall a b c d e f g h i j
`

// serviceBytes, from the environment, is the size of the download of
// TestServiceDownload; where it is set, the times that must hold are asserted too.
const serviceBytes = "SERVICE_BYTES"

// newWorks is how soon after a relay has gone a new stream must have its answer.
const newWorks = 5 * time.Second

// killed is what visitors saw of the end of one relay.
type killed struct {
	what    string
	first   time.Duration // from the end of the relay to the first answer on a new stream
	slowest time.Duration // of new streams, from their opening to their answer
	failed  int           // new streams without an answer
	broken  int           // downloads that ended
}

// visitor fetches from a web service through a router, all on one circuit.
type visitor struct {
	l       *lab.Lab
	address string

	got    atomic.Int64 // bytes, of all downloads
	broken atomic.Int64
}

// get asks for a part of a file from an offset on.
func (v *visitor) get(path string, from int64) (*http.Response, net.Conn, error) {
	var conn net.Conn
	err := v.l.Node("a").Namespace().Do(func() (err error) {
		conn, err = onionlab.DialHost(socksPort, v.address+":80", "visitor")
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	conn.SetDeadline(time.Now().Add(3 * newWorks)) // or it is no answer
	request, err := http.NewRequest(http.MethodGet, "http://"+v.address+path, nil)
	if err == nil {
		request.Close = true
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		err = request.Write(conn)
	}
	var answer *http.Response
	if err == nil {
		answer, err = http.ReadResponse(bufio.NewReader(conn), request)
	}
	if err == nil && answer.StatusCode != http.StatusPartialContent {
		err = errors.New(answer.Status)
	}
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return answer, conn, nil
}

// download fetches size bytes, in as many streams as it takes, and returns their hash.
func (v *visitor) download(path string, size int64) (sum [32]byte, err error) {
	hash := sha256.New()
	buf := make([]byte, 128<<10)
	for at := int64(0); at < size; {
		answer, conn, err := v.get(path, at)
		if err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		for {
			conn.SetDeadline(time.Now().Add(patience))
			n, err := answer.Body.Read(buf)
			hash.Write(buf[:n])
			at += int64(n)
			v.got.Add(int64(n))
			if err == nil {
				continue
			}
			if at < size {
				v.broken.Add(1)
			} else if err != io.EOF {
				return sum, err
			}
			break
		}
		conn.Close()
	}
	return [32]byte(hash.Sum(nil)), nil
}

// small opens a stream for a small file.
func (v *visitor) small() error {
	answer, conn, err := v.get("/small", 0)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// after opens a stream every quarter of a second, for as long as one may take after a
// relay has gone, and waits until all have ended.
func (v *visitor) after(k *killed) {
	began := time.Now()
	var all sync.WaitGroup
	var mu sync.Mutex
	for time.Since(began) < newWorks {
		all.Go(func() {
			opened := time.Now()
			err := v.small()
			mu.Lock()
			defer mu.Unlock()
			switch done := time.Since(began); {
			case err != nil:
				k.failed++
			default:
				if k.first == 0 || done < k.first {
					k.first = done
				}
				k.slowest = max(k.slowest, time.Since(opened))
			}
		})
		time.Sleep(250 * time.Millisecond)
	}
	all.Wait()
}

// A download goes on while relays of all parts are killed one after another, and come
// back: each takes at most the stream in flight with it, and new ones work.
func TestServiceDownload(t *testing.T) {
	size, strict := int64(64<<20), false
	if text := os.Getenv(serviceBytes); text != "" {
		var err error
		if size, err = strconv.ParseInt(text, 10, 64); err != nil {
			t.Fatal(err)
		}
		strict = true
	}
	folder := t.TempDir()
	must(t, os.Chmod(folder, 0o755))
	want := randomFile(t, filepath.Join(folder, "large"), size)
	randomFile(t, filepath.Join(folder, "small"), 500)
	l := start(t, killHall)
	for _, name := range names(l) {
		knows(t, l, name, 9, 0)
	}
	nginx(t, l, "g", folder)
	owner(t, l, "g", "service", "add", "files", "--to", "127.0.0.1:8080", "--port", "80")
	v := &visitor{l: l, address: reachable(t, l, "g", "files")}
	eventually(t, "the service answers", func() bool { return v.small() == nil })

	stop, ended := make(chan struct{}), make(chan error, 1)
	downloads, began := 0, time.Now()
	go func() { // at least one, whole, and until all relays had their turn
		for {
			got, err := v.download("/large", size)
			if err == nil && got != want {
				err = errors.New("other bytes came than are in the file")
			}
			downloads++
			select {
			case <-stop:
			default:
				if err == nil {
					continue
				}
			}
			ended <- err
			return
		}
	}()
	for _, part := range []struct {
		what string
		pick func(t *testing.T, l *lab.Lab) []identity.NodeID // whom, the first that is a relay
	}{
		{"an introduction point", introduction}, {"another", introduction}, {"the third", introduction},
		{"the rendezvous point", hop("a", 2)}, {"the client's guard", hop("a", 0)}, {"the client's second relay", hop("a", 1)},
		{"the service's guard", hop("g", 0)}, {"the service's second relay", hop("g", 1)}, {"the service's third relay", hop("g", 2)},
	} {
		progress := v.got.Load() + size/20
		eventually(t, "the download goes on", func() bool { return v.got.Load() >= progress || len(ended) > 0 })
		victim := relayOf(l, part.pick(t, l))
		if victim == nil {
			t.Logf("%s: none that could be killed", part.what)
			continue
		}
		k := killed{what: part.what}
		broken := v.broken.Load()
		must(t, victim.Kill())
		v.after(&k)
		eventually(t, "new streams work after "+part.what+" has gone", func() bool { return k.first > 0 || v.small() == nil })
		k.broken = int(v.broken.Load() - broken)
		t.Logf("%-26s first answer after %4d ms, slowest %4d ms, %d new streams failed, %d downloads ended", k.what, k.first.Milliseconds(),
			k.slowest.Milliseconds(), k.failed, k.broken)
		if k.broken > 1 {
			t.Errorf("%d downloads ended after %s had gone", k.broken, k.what)
		}
		if strict && (k.first == 0 || k.first > newWorks || k.slowest > newWorks) {
			t.Errorf("after %s had gone, new streams did not work within %v", k.what, newWorks)
		}
		must(t, victim.Restart())
		eventually(t, "the relay is back", func() bool {
			_, err := dhtClient(l, victim.Name).Onion(t.Context())
			return err == nil
		})
	}
	close(stop)
	must(t, <-ended)
	t.Logf("%d downloads of %d bytes with the right hash; %d streams of them ended early; %.1f MB/s", downloads, size, v.broken.Load(),
		float64(v.got.Load())/1e6/time.Since(began).Seconds())
}

// randomFile makes a file and returns its hash.
func randomFile(t *testing.T, path string, size int64) [32]byte {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	must(t, err)
	defer f.Close()
	hash := sha256.New()
	_, err = io.CopyN(io.MultiWriter(f, hash), rand.NewChaCha8([32]byte{byte(size)}), size)
	must(t, err)
	return [32]byte(hash.Sum(nil))
}

// introduction returns the introduction points of the service on g.
func introduction(t *testing.T, l *lab.Lab) []identity.NodeID {
	t.Helper()
	var list []control.Service
	must(t, json.Unmarshal([]byte(owner(t, l, "g", "service", "list", "--json")), &list))
	return list[0].Points
}

// hop returns a relay of the circuit that carries a node's streams of the service.
func hop(name string, i int) func(t *testing.T, l *lab.Lab) []identity.NodeID {
	return func(t *testing.T, l *lab.Lab) (found []identity.NodeID) {
		eventually(t, name+" has a circuit with streams", func() bool {
			for _, c := range circuits(t, l, name) {
				if c.Purpose == "service" && c.Streams > 0 && len(c.Path) > i {
					found = append(found, c.Path[i])
				}
			}
			return found != nil
		})
		return found
	}
}

// relayOf returns the first of nodes that is neither client nor host.
func relayOf(l *lab.Lab, nodes []identity.NodeID) *lab.Node {
	for _, n := range l.Routers() {
		if id, err := n.ID(); err == nil && n.Name != "a" && n.Name != "g" && slices.Contains(nodes, id) {
			return n
		}
	}
	return nil
}
