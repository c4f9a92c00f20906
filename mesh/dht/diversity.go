package dht

// The links of ours through which nodes are reached are what an attacker has few of:
// identities cost little, radio neighbours do not. So no link should lead to too
// much of what we rely on, if there are others.

const (
	maxVia     = 2 // of a bucket
	tableVia   = 8 // of the table, and at least tableShare of it
	tableShare = 8 // an eighth

	// lopsided is how improbable it must be that chance reached so many of the k
	// closest through one link: about once in a hundred lookups.
	lopsided = 0.01

	otherWays = replicas / 2 // further holders of a record, through other links
)

// shares counts the contacts of a bucket, and of the whole table, by their links.
func (d *DHT) shares(b *kbucket) (inBucket, inTable map[string]int, all int) {
	inBucket, inTable = make(map[string]int, 4), make(map[string]int, 8)
	for _, c := range b.live {
		inBucket[c.via]++
	}
	for i := range d.table.buckets {
		for _, c := range d.table.buckets[i].live {
			inTable[c.via]++
			all++
		}
	}
	return inBucket, inTable, all
}

// redundant returns a contact that should make room in a full bucket for one that is
// reached through another link, if it is young enough: the youngest through the link
// that leads to most of the bucket, or else to too much of the table. An exchange
// never gives reason for the one that would undo it.
func (d *DHT) redundant(b *kbucket, newcomer *contact) *contact {
	if newcomer.via == "" {
		return nil
	}
	inBucket, inTable, all := d.shares(b)
	mine, limit := newcomer.via, max(tableVia, all/tableShare)
	var victim *contact
	for _, c := range b.live {
		if c.via == "" || c.via == mine || d.now-c.alive > veteranAge {
			continue
		}
		bucket := inBucket[c.via] > max(maxVia, inBucket[mine]+1)
		table := inTable[c.via] > max(limit, inTable[mine]+1) && inBucket[mine] < max(maxVia, inBucket[c.via])
		if !bucket && !table {
			continue
		}
		if victim == nil || inBucket[c.via] > inBucket[victim.via] ||
			inBucket[c.via] == inBucket[victim.via] && inTable[c.via] > inTable[victim.via] ||
			c.via == victim.via && c.alive > victim.alive {
			victim = c
		}
	}
	return victim
}

func (b *kbucket) through(via string) (n int) {
	for _, c := range b.live {
		if c.via == via && via != "" {
			n++
		}
	}
	return n
}

// oneLink returns the link through which more of the k closest are reached than
// chance explains; "" if there is none. Who sits behind one link of ours and made
// identities to surround a key shows like that, as does a part of the network that
// holds a key for itself.
func (d *DHT) oneLink(closest []*candidate) string {
	if len(closest) < replicas || len(d.links) < 2 {
		return ""
	}
	counts := make(map[string]int, 4)
	for _, c := range closest[:replicas] {
		if via := c.contact.via; via != "" {
			counts[via]++
		}
	}
	for via, n := range counts {
		if n > replicas/2 && atLeast(n, float64(d.links[via])/float64(d.reachable)) < lopsided {
			return via // more than half: there is at most one
		}
	}
	return ""
}

// atLeast is the chance that of k draws n or more hit what has probability p.
func atLeast(n int, p float64) float64 {
	sum := 0.0
	for i := n; i <= replicas; i++ {
		term := 1.0
		for j := range i {
			term *= p * float64(replicas-j) / float64(j+1)
		}
		for range replicas - i {
			term *= 1 - p
		}
		sum += term
	}
	return sum
}

// otherWay lists further nodes that should have a record whose k closest are nearly
// all behind one link: the next ones that are not. A lookup that notices the same
// asks them, too.
func (d *DHT) otherWay(targets []*candidate) (list []*candidate) {
	via := d.oneLink(targets)
	if via == "" {
		return nil
	}
	for _, c := range targets[replicas:min(len(targets), responsible)] {
		if c.contact.via != via && len(list) < otherWays {
			list = append(list, c)
		}
	}
	return list
}
