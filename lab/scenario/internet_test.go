package scenario

import (
	"testing"
	"time"
)

// a - NAT - internet - NAT - b, and c with a public address, whom both know. The
// NATs let a hole be punched: a and b get a link of their own.
func TestShortcutThroughNAT(t *testing.T) {
	l := start(t, "router a b c\nuplink a nat=cone\nuplink b nat=cone\nuplink c\npeer a c\npeer b c")
	allReach(t, l)
	eventually(t, "a and b are neighbours over the internet", func() bool {
		n, ok := neighbour(t, l, "a", "b")
		return ok && n.State == "up" && n.Class == "internet" && metric(t, l, "a", "b") <= n.Cost
	})
	allReach(t, l)
	// Without c they still reach each other.
	must(t, l.Node("c").Kill())
	reach(t, l, "a", "b")
}

// The same with NATs that defeat hole punching: the way through c serves.
func TestSymmetricNATsUseThirdNode(t *testing.T) {
	l := start(t, "router a b c\nuplink a nat=symmetric\nuplink b nat=symmetric\nuplink c\npeer a c\npeer b c")
	allReach(t, l)
	time.Sleep(20 * time.Second) // a shortcut is tried in this time
	if n, ok := neighbour(t, l, "a", "b"); ok && n.State == "up" {
		t.Errorf("a and b have a direct link %+v: the NATs are not what the test wants", n)
	}
	allReach(t, l)
}

// a ~ b ~ c     e ~ f ~ g    two islands; b and f have the internet, f knows b
//
//	|             |
//	+-- internet -+
func TestGatewaysJoinIslands(t *testing.T) {
	l := start(t, "router a b c e f g\nradio a b c\nradio e f g\nuplink b\nuplink f\npeer f b")
	allReach(t, l)
}

// a and b know each other over the internet and hear each other by radio: the
// radio carries the link, and when it goes the internet does, and back.
func TestDirectPathBeatsInternet(t *testing.T) {
	l := start(t, "router a b\nradio a b\nuplink a\nuplink b\npeer a b")
	allReach(t, l)
	over := func(class string) func() bool {
		return func() bool {
			n, ok := neighbour(t, l, "a", "b")
			return ok && n.State == "up" && n.Class == class
		}
	}
	eventually(t, "the link is by radio", over("radio"))
	must(t, l.Cut("a", "b"))
	eventually(t, "the link moves to the internet", over("internet"))
	allReach(t, l)
	must(t, l.Heal("a", "b"))
	eventually(t, "the link returns to the radio", over("radio"))
	allReach(t, l)
}

// Five nodes with public addresses know only the hub h; they learn of each other from it.
func TestHubIntroduces(t *testing.T) {
	l := start(t, `router h a b c d
uplink h
uplink a
uplink b
uplink c
uplink d
peer a h
peer b h
peer c h
peer d h`)
	allReach(t, l)
	eventually(t, "a has links besides that to the hub", func() bool {
		return len(status(t, l, "a").Neighbours) >= 3
	})
}
