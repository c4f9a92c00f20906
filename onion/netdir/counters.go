package netdir

// counter names something that is counted.
type counter uint8

const (
	descriptorsAdded counter = iota
	descriptorsKnown
	descriptorsBad
	descriptorsOld
	descriptorsTooMany
	descriptorsNoPlace
	descriptorsExpired
	descriptorsEvicted
	equivocations
	ownSeen
	gossipSessions
	gossipStrangers
	gossipBroken
	gossipQuota
	gossipSent
	gossipReceived
	counterCount
)

var counterNames = [counterCount]string{
	descriptorsAdded:   "directory_descriptors_added",
	descriptorsKnown:   "directory_descriptors_known_before",
	descriptorsBad:     "directory_descriptors_bad",
	descriptorsOld:     "directory_descriptors_refused_age",
	descriptorsTooMany: "directory_descriptors_refused_rate",
	descriptorsNoPlace: "directory_descriptors_refused_full",
	descriptorsExpired: "directory_descriptors_expired",
	descriptorsEvicted: "directory_descriptors_evicted",
	equivocations:      "directory_equivocations",
	ownSeen:            "directory_own_seen",
	gossipSessions:     "directory_gossip_sessions",
	gossipStrangers:    "directory_gossip_strangers_refused",
	gossipBroken:       "directory_gossip_protocol_errors",
	gossipQuota:        "directory_gossip_offers_over_quota",
	gossipSent:         "directory_gossip_bytes_sent",
	gossipReceived:     "directory_gossip_bytes_received",
}

// Counters returns what was counted since New, by metric name, and how many
// descriptors there are.
func (d *Directory) Counters() map[string]uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := make(map[string]uint64, counterCount+1)
	for i, n := range d.counts {
		m[counterNames[i]] = n
	}
	m["directory_descriptors"] = uint64(d.alive)
	return m
}

func (d *Directory) count(c counter) { d.countN(c, 1) }

func (d *Directory) countN(c counter, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts[c] += uint64(n)
}
