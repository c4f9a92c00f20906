package dht

import "slices"

// dense is the part of the expected distance below which the closest nodes are
// suspiciously close: with honest ones it happens about once in a hundred lookups.
const dense = 0.35

// estimate is how many nodes there are, ourselves included: counted where we know
// all, else from the distances of our siblings, which are spread evenly.
func (d *DHT) estimate() int {
	if d.complete() {
		n := 1
		for _, c := range d.contacts.list {
			if c.reachable && c.fails == 0 {
				n++
			}
		}
		return n
	}
	s := d.table.siblings
	if len(s) < siblingCount {
		return len(s) + 1
	}
	var squares, sum float64
	for i, c := range s {
		rank := float64(i + 1)
		squares += rank * rank
		sum += rank * fraction(&d.self, &c.key)
	}
	return max(len(s)+1, int(squares/sum))
}

// crowded is the density test against an eclipse: it compares the distances of the
// closest nodes with those that the size of the network lets expect. Identities that
// were made to surround a key lie closer to it than chance would put them.
func (d *DHT) crowded(key Key, closest []*candidate) bool {
	n := d.estimate()
	if len(closest) < replicas || n < 4*replicas {
		return false
	}
	var squares, sum float64
	for i, c := range closest[:replicas] {
		rank := float64(i + 1)
		squares += rank * rank
		sum += rank * fraction(&key, &c.contact.key)
	}
	return sum/squares*float64(n) < dense
}

// widen makes a lookup ask a larger region: when the density test fails, or too many
// of the closest are behind one link, so that the nodes which a crowd pushed away are
// asked too, and when somebody wants a record
// and none of the closest has it, because newcomers may have pushed its holders away.
func (l *lookup) widen() bool {
	if l.width != replicas {
		return false
	}
	switch {
	case l.d.crowded(l.key, l.closest()):
		l.d.counts[lookupsSuspicious]++
		l.suspicious = true
	case l.d.oneLink(l.closest()) != "":
		l.d.counts[lookupsOneLink]++
	case !l.insist || slices.ContainsFunc(l.asked, func(c *candidate) bool { return c.meta != nil && !c.bad }):
		return false
	}
	l.width = wide
	for _, c := range l.d.closest(l.key, 2*wide, (*contact).usable) {
		l.add(0, c, nil)
	}
	l.step()
	return true
}
