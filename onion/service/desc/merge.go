package desc

import (
	"math/rand/v2"

	"globalnet/onion/service/key"
)

// Slots returns the slots in which a client looks after it read first, the descriptor
// of one slot; without one, all but that.
func Slots(slot uint8, first *Opened) []uint8 {
	n := uint8(key.MaxSlots)
	if first != nil {
		n = first.Slots
	}
	var others []uint8
	for s := range n {
		if s != slot {
			others = append(others, s)
		}
	}
	return others
}

// Merge returns the introduction points of all machines of a service in the order in
// which to try them: one of each machine, in random order, then the next of each. Of
// two descriptors of one machine the newer counts.
func Merge(found []*Opened, rng *rand.Rand) []IntroPoint {
	newest := make(map[[8]byte]*Opened)
	var machines [][8]byte
	for _, o := range found {
		old := newest[o.Instance]
		if old == nil {
			machines = append(machines, o.Instance)
		}
		if old == nil || o.Revision > old.Revision {
			newest[o.Instance] = o
		}
	}
	rng.Shuffle(len(machines), func(i, j int) { machines[i], machines[j] = machines[j], machines[i] })
	orders := make([][]int, len(machines))
	for i, m := range machines {
		orders[i] = rng.Perm(len(newest[m].Points))
	}
	var points []IntroPoint
	for round := range MaxPoints {
		for i, m := range machines {
			if round < len(orders[i]) {
				points = append(points, newest[m].Points[orders[i][round]])
			}
		}
	}
	return points
}

// ChooseSlot returns the slot for a machine that found these descriptors of its own
// service: the one where it was before, otherwise the first that is free. It is false
// if all are taken.
func ChooseSlot(instance [8]byte, found map[uint8]*Opened) (uint8, bool) {
	for s, o := range found {
		if o.Instance == instance {
			return s, true
		}
	}
	for s := range uint8(key.MaxSlots) {
		if found[s] == nil {
			return s, true
		}
	}
	return 0, false
}

// SlotsInUse returns what Descriptor.Slots has to be for a machine in slot, beside
// those that were found.
func SlotsInUse(slot uint8, found map[uint8]*Opened) uint8 {
	n := slot + 1
	for s := range found {
		n = max(n, s+1)
	}
	return n
}
