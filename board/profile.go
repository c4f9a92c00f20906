package board

// Profile is how much of a machine the agent takes. Everything follows from the
// RAM: the budgets of a router with 64 MiB and of one with 512 differ tenfold.
type Profile struct {
	Class       int `json:"class_mib"`        // the RAM class: 64, 128, 256, 512
	MemoryLimit int `json:"memory_limit_mib"` // of the Go heap; 0 for none
	GCPercent   int `json:"gc_percent"`

	// SmallBuffers makes wireguard-go and its TUN work in batches of 8 with bounded
	// queues: its own defaults take 130 MB at the first download.
	SmallBuffers bool `json:"small_buffers"`

	OnionBudget int  `json:"onion_budget_bytes"` // cells, circuits, streams, handshakes
	DHTBytes    int  `json:"dht_bytes"`          // records kept for others
	DHTRecords  int  `json:"dht_records"`
	Relay       bool `json:"relay"` // has the memory to carry circuits of others
}

const mib = 1 << 20

// profiles are in ascending order of RAM. A limit too close to what lives makes
// the collector run all the time, so the smallest leaves 8 MiB above the idle heap.
var profiles = []Profile{
	{Class: 64, MemoryLimit: 24, GCPercent: 50, SmallBuffers: true, OnionBudget: 4 * mib, DHTBytes: mib / 2, DHTRecords: 512},
	{Class: 128, MemoryLimit: 32, GCPercent: 50, SmallBuffers: true, OnionBudget: 16 * mib, DHTBytes: mib, DHTRecords: 1024, Relay: true},
	{Class: 256, MemoryLimit: 64, GCPercent: 100, SmallBuffers: true, OnionBudget: 32 * mib, DHTBytes: 4 * mib, DHTRecords: 4096, Relay: true},
	{Class: 512, MemoryLimit: 128, GCPercent: 100, OnionBudget: 64 * mib, DHTBytes: 16 * mib, DHTRecords: 16384, Relay: true},
}

// ProfileFor returns the profile of a machine whose kernel reports so much
// memory. It reports less than is soldered in: itself and what it reserved are
// missing, so a class begins at three quarters of its RAM. Zero is unknown, and
// taken for 128 MiB.
func ProfileFor(totalKiB uint64) Profile {
	if totalKiB == 0 {
		return profiles[1]
	}
	p := profiles[0]
	for _, next := range profiles[1:] {
		if totalKiB >= uint64(next.Class)<<10*3/4 {
			p = next
		}
	}
	switch ram := int(min(totalKiB>>10, 1<<20)); {
	case ram > 2048: // no router: nothing is scarce
		p.MemoryLimit, p.OnionBudget = 0, 256*mib
	case ram > 768:
		p.MemoryLimit, p.OnionBudget = ram/4, ram/8*mib
	}
	return p
}
