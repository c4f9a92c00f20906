package clock

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"globalnet/internal/identity"
)

// Keeper keeps a Clock. Its methods may be called from any goroutine.
type Keeper struct {
	read    func() Reading
	changed func()

	mu    sync.Mutex
	clock *Clock
	said  Said // of the last look
	at    time.Duration
}

// NewKeeper returns a Keeper. Read reads this machine's clocks; nil: System does.
// Changed is called, with no lock held, when mesh time has jumped or is worth more or
// less than before; it may be nil.
func NewKeeper(read func() Reading, changed func()) *Keeper {
	if read == nil {
		read = System
	}
	if changed == nil {
		changed = func() {}
	}
	r := read()
	k := &Keeper{read: read, changed: changed, clock: New(r)}
	k.said, k.at = k.clock.Say(r), r.Running
	return k
}

// Now returns mesh time.
func (k *Keeper) Now() time.Time { return k.Say().Time }

// Say returns what to tell neighbours.
func (k *Keeper) Say() Said {
	r := k.read()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.clock.Say(r)
}

// Hear takes what an authenticated neighbour says, which has to be Valid.
func (k *Keeper) Hear(node identity.NodeID, s Said) {
	k.do(func(r Reading) { k.clock.Hear(r, node, s) })
}

// Forget drops what nodes said that are no neighbours any more.
func (k *Keeper) Forget(nodes ...identity.NodeID) {
	k.do(func(r Reading) {
		for _, node := range nodes {
			k.clock.Forget(r, node)
		}
	})
}

// Tick looks at this machine's clock again; it wants to be called now and then.
func (k *Keeper) Tick() { k.do(func(r Reading) { k.clock.Update(r) }) }

func (k *Keeper) do(f func(r Reading)) {
	r := k.read()
	k.mu.Lock()
	f(r)
	said := k.clock.Say(r)
	jumped := k.said.Differs(said, r.Running-k.at)
	k.said, k.at = said, r.Running
	k.mu.Unlock()
	if jumped {
		k.changed()
	}
}

// fake is set by the linker, for tests of whole agents: the seconds that the wall clock is
// ahead, and "set" behind them if it is to count as synchronised.
var fake string

// System reads the clocks of this machine.
func System() Reading {
	r := system()
	if ahead, set, _ := strings.Cut(fake, " "); fake != "" {
		n, _ := strconv.ParseInt(ahead, 10, 64)
		r.Wall, r.Set = time.Unix(r.Wall.Unix()+n, 0), set == "set"
	}
	return r
}

func system() Reading {
	r := Reading{Wall: time.Now()}
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) == nil {
		r.Running = time.Duration(ts.Nano())
	} else {
		r.Running = time.Since(started)
	}
	var t unix.Timex // asks only
	if state, err := unix.Adjtimex(&t); err == nil {
		r.Set = state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
	}
	return r
}

// started is for kernels that do not know how long they run.
var started = time.Now()
