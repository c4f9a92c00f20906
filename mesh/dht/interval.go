package dht

import "slices"

// Publications go from the short interval to the long one as the nodes we know turn
// out to stay: docs/decisions/0010-replication.md says what that costs and spares.
const (
	republishMin = 5 * minute
	republishMax = 10 * minute
	youngMesh    = 6 * hour // up to this median age the short one holds
	calmMesh     = 24 * hour
)

// medianAge is for how long half of the contacts have been there without a break, as
// far as we have seen: never longer than we run ourselves.
func (d *DHT) medianAge() tick {
	ages := make([]tick, 0, len(d.contacts.list))
	for _, c := range d.contacts.list {
		if c.usable() && c.alive != 0 {
			ages = append(ages, d.now-c.alive)
		}
	}
	if len(ages) == 0 {
		return 0
	}
	slices.Sort(ages)
	return ages[len(ages)/2]
}

// republishEvery is the interval of publications now. With fewer than k holders the
// short one holds: each of them counts.
func (d *DHT) republishEvery() tick {
	if d.cfg.Republish > 0 {
		return tick(d.cfg.Republish)
	}
	if d.estimate() <= replicas {
		return republishMin
	}
	calm := min(max(d.medianAge()-youngMesh, 0), calmMesh-youngMesh)
	return republishMin + tick(float64(republishMax-republishMin)*float64(calm)/float64(calmMesh-youngMesh))
}
