package lab

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"globalnet/lab/medium"
	"globalnet/lab/topology"
)

// Cut keeps a and b apart: radios no longer hear each other, a wire's plugs are
// pulled at both ends, so both see the carrier go. b may also be the name of a
// segment, a router's name for its LAN client, or "internet": then only the plug of a is pulled.
func (l *Lab) Cut(a, b string) error {
	return l.changePair(a, b, func(e *end) { e.down = true })
}

// Silent keeps a and b apart like Cut, but a wire's ends see no change: all frames vanish.
func (l *Lab) Silent(a, b string) error {
	return l.changePair(a, b, func(e *end) { e.silent = true })
}

func (l *Lab) changePair(a, b string, change func(*end)) error {
	wired, err := l.hub.set(a, b, change)
	if err != nil {
		return err
	}
	if _, err := l.find(a); err != nil {
		return err
	}
	if _, err := l.find(b); err != nil && !wired {
		return err
	}
	l.air.change(func(m *medium.Medium) { m.Cut(a, b); m.Cut(b, a) })
	return nil
}

// Heal undoes Cut and Silent between a and b.
func (l *Lab) Heal(a, b string) error {
	_, err := l.hub.set(a, b, func(e *end) { e.down, e.silent = false, false })
	l.air.change(func(m *medium.Medium) { m.Heal(a, b); m.Heal(b, a) })
	return err
}

// HealAll undoes all cuts and partitions.
func (l *Lab) HealAll() error {
	l.air.change((*medium.Medium).HealAll)
	return l.hub.setAll(func(_ *cable, e *end) { e.down, e.silent, e.partitioned = false, false, false })
}

// Partition divides the nodes into groups that do not reach each other over
// radio or wire; nodes in no group form one more. LANs and the internet stay.
func (l *Lab) Partition(groups ...[]string) error {
	group := map[string]int{}
	for i, g := range groups {
		for _, name := range g {
			if _, err := l.find(name); err != nil {
				return err
			}
			group[name] = i + 1
		}
	}
	l.air.change(func(m *medium.Medium) { m.Partition(groups) })
	return l.hub.setAll(func(c *cable, e *end) {
		e.partitioned = false
		if !strings.HasPrefix(e.ifname, "wire-") {
			return
		}
		// The ends of the largest group stay on the bridge, the others are taken off it.
		count := map[int]int{}
		best := group[c.ends[0].node]
		for _, other := range c.ends {
			g := group[other.node]
			count[g]++
			if count[g] > count[best] {
				best = g
			}
		}
		e.partitioned = group[e.node] != best
	})
}

// Move puts a node at another position.
func (l *Lab) Move(name string, x, y float64) error {
	if _, err := l.find(name); err != nil {
		return err
	}
	l.air.change(func(m *medium.Medium) { m.Place(name, x, y) })
	return nil
}

// SetQuality changes loss, delay, jitter or rate of the radio link between two nodes.
func (l *Lab) SetQuality(a, b, property, value string, oneWay bool) error {
	var probe medium.Quality
	if err := topology.SetQuality(&probe, property, value); err != nil {
		return err
	}
	for _, name := range []string{a, b} {
		if _, err := l.find(name); err != nil {
			return err
		}
	}
	found := false
	l.air.change(func(m *medium.Medium) {
		set := func(q *medium.Quality) { topology.SetQuality(q, property, value) }
		found = m.Adjust(a, b, set)
		if !oneWay {
			found = m.Adjust(b, a, set) || found
		}
	})
	if !found {
		return fmt.Errorf("no radio link between %s and %s", a, b)
	}
	return nil
}

// ChangeUsage lists the changes that Apply understands.
const ChangeUsage = `  cut A B                  radios: out of reach; wire: plugs pulled
  silent A B               radios: out of reach; wire: frames vanish, the carrier stays
  heal A B | heal          undo cuts and silences, between two or everywhere
  partition A,B / C,D      groups that do not reach each other; undone by heal
  move A X Y               put a node at another position
  loss A B 30% [one-way]   lose frames of a radio link; likewise
  delay A B 20ms [one-way] | jitter A B 5ms [one-way] | rate A B 6mbit [one-way]
  kill A | restart A | suspend A | resume A | stop A
                           the agent of a router: kill -9, restart, SIGSTOP, SIGCONT, SIGTERM`

// Apply carries out a change written as words, as in "cut a b"; see ChangeUsage.
func (l *Lab) Apply(words []string) error {
	if len(words) == 0 {
		return errors.New("which change?\n" + ChangeUsage)
	}
	verb, args := words[0], words[1:]
	oneWay := len(args) > 0 && args[len(args)-1] == "one-way"
	if oneWay {
		args = args[:len(args)-1]
	}
	switch {
	case verb == "cut" && len(args) == 2:
		return l.Cut(args[0], args[1])
	case verb == "silent" && len(args) == 2:
		return l.Silent(args[0], args[1])
	case verb == "heal" && len(args) == 2:
		return l.Heal(args[0], args[1])
	case verb == "heal" && len(args) == 0:
		return l.HealAll()
	case verb == "partition" && len(args) > 0:
		return l.Partition(splitGroups(args)...)
	case verb == "move" && len(args) == 3:
		x, err1 := strconv.ParseFloat(args[1], 64)
		y, err2 := strconv.ParseFloat(args[2], 64)
		if err := errors.Join(err1, err2); err != nil {
			return fmt.Errorf("move: %q %q is no position", args[1], args[2])
		}
		return l.Move(args[0], x, y)
	case slices.Contains([]string{"loss", "delay", "jitter", "rate"}, verb) && len(args) == 3:
		return l.SetQuality(args[0], args[1], verb, args[2], oneWay)
	case agentVerbs[verb] != nil && len(args) == 1:
		n, err := l.find(args[0])
		if err != nil {
			return err
		}
		return agentVerbs[verb](n)
	}
	return fmt.Errorf("%q is no change; there are\n%s", strings.Join(words, " "), ChangeUsage)
}

var agentVerbs = map[string]func(*Node) error{
	"kill":    (*Node).Kill,
	"restart": (*Node).Restart,
	"suspend": (*Node).Suspend,
	"resume":  (*Node).Resume,
	"stop":    func(n *Node) error { return n.Terminate(stopTime) },
}

// splitGroups reads "a,b / c,d", however the words were cut.
func splitGroups(words []string) [][]string {
	var groups [][]string
	for _, g := range strings.Split(strings.Join(words, " "), "/") {
		names := strings.FieldsFunc(g, func(r rune) bool { return r == ',' || r == ' ' })
		if len(names) > 0 {
			groups = append(groups, names)
		}
	}
	return groups
}
