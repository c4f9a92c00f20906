package openwrt

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"globalnet/board"
	"globalnet/mesh/kernel/air"
)

// Radio is a radio as /etc/config/wireless has it.
type Radio struct {
	Name     string      `json:"name"`
	Band     string      `json:"band"` // 2g, 5g, 6g
	Channel  string      `json:"channel"`
	Country  string      `json:"country,omitempty"`
	Disabled bool        `json:"disabled"`
	Uses     []Use       `json:"uses,omitempty"`
	Known    board.Radio `json:"known"`
}

// Use is an interface on a radio.
type Use struct {
	Section  string `json:"section"`
	Mode     string `json:"mode"` // ap, sta, mesh, adhoc
	Name     string `json:"name"` // SSID or mesh ID
	Disabled bool   `json:"disabled,omitempty"`
	Ours     bool   `json:"ours,omitempty"`
}

func (u Use) String() string {
	names := map[string]string{"ap": "the access point", "sta": "the connection to", "mesh": "the mesh", "adhoc": "the cell"}
	what, ok := names[u.Mode]
	if !ok {
		what = u.Mode
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s", what, strconv.Quote(u.Name)))
}

// Radios lists the radios that OpenWrt knows.
func (s *System) Radios() ([]Radio, error) {
	fs, err := s.open()
	if err != nil {
		return nil, err
	}
	return s.radios(fs), nil
}

func (s *System) radios(fs files) (all []Radio) {
	w := fs["wireless"]
	if w == nil {
		return nil
	}
	get := func(ref, name string) string { v, _ := w.Get(ref, name); return v }
	for _, d := range w.Sections() {
		if d.Type != "wifi-device" || d.Name == "" {
			continue
		}
		r := Radio{
			Name: d.Name, Channel: get(d.Ref, "channel"), Country: get(d.Ref, "country"),
			Disabled: get(d.Ref, "disabled") == "1", Band: band(get(d.Ref, "band"), get(d.Ref, "hwmode"), get(d.Ref, "channel")),
		}
		if i, ok := number(d.Name); ok && i < len(s.Board.Board.Radios) {
			r.Known = s.Board.Board.Radios[i]
		}
		for _, i := range w.Sections() {
			if i.Type != "wifi-iface" || get(i.Ref, "device") != d.Name {
				continue
			}
			u := Use{Section: i.Ref, Mode: get(i.Ref, "mode"), Name: get(i.Ref, "ssid"), Disabled: get(i.Ref, "disabled") == "1", Ours: strings.HasPrefix(i.Name, prefix)}
			if u.Mode == "mesh" {
				u.Name = get(i.Ref, "mesh_id")
			}
			r.Uses = append(r.Uses, u)
		}
		all = append(all, r)
	}
	return all
}

// band also reads what OpenWrt before 21.02 wrote.
func band(band, hwmode, channel string) string {
	if band != "" {
		return band
	}
	if c, err := strconv.Atoi(channel); strings.HasPrefix(hwmode, "11a") || err == nil && c > 14 {
		return "5g"
	}
	return "2g"
}

// number is the number a radio's name ends with.
func number(name string) (int, bool) {
	n, err := strconv.Atoi(strings.TrimLeft(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"))
	return n, err == nil && n >= 0
}

// Others are the interfaces of the owner that are on the air, or would be.
func (r Radio) others() (list []Use) {
	for _, u := range r.Uses {
		if !u.Ours && !u.Disabled {
			list = append(list, u)
		}
	}
	return list
}

// fixed is the radio's channel; 0 if it is chosen by the driver.
func (r Radio) fixed() int {
	n, err := strconv.Atoi(r.Channel)
	if err != nil {
		return 0
	}
	return n
}

// usual is the channel on which radios of strangers meet.
var usual = map[string]int{"2g": 1, "5g": 36}

// Conflict says why a radio cannot be set up as it is, and what would help.
type Conflict struct {
	Radio string
	Text  string
}

func (c *Conflict) Error() string { return c.Radio + ": " + c.Text }

// tuning is how a radio will be.
type tuning struct {
	mode    string
	channel int
	notes   []string
}

// decide judges a wish against what the radio does already.
func decide(r Radio, g given) (a tuning, err error) {
	conflict := func(format string, args ...any) (tuning, error) {
		return tuning{}, &Conflict{r.Name, fmt.Sprintf(format, args...)}
	}
	note := func(format string, args ...any) { a.notes = append(a.notes, r.Name+": "+fmt.Sprintf(format, args...)) }
	if r.Band == "6g" {
		return conflict("6 GHz allows no open mesh: take a radio of 2.4 or 5 GHz")
	}

	others := r.others()
	beside := slices.IndexFunc(others, func(u Use) bool { return u.Mode == "ap" })
	for _, u := range others {
		switch {
		case r.Disabled:
		case u.Mode == "sta":
			return conflict("it carries %s, whose channel the other side decides; a mesh needs one that stays. Use another radio, or remove wireless.%s", u, u.Section)
		case u.Mode == "mesh" || u.Mode == "adhoc":
			return conflict("it carries %s already, and a radio does one of that kind. Remove wireless.%s, or name its interface in globalnet.main.interface: the agent uses it as it is", u, u.Section)
		}
	}
	if r.Disabled {
		beside = -1 // what is switched off with the radio stays so
	}

	switch a.mode = g.mode; {
	case a.mode == "auto":
		if a.mode = r.Known.MeshMode(); a.mode == "" && r.Known.Mesh == board.Unknown {
			a.mode = "mesh"
			note("nothing is known of its driver; 802.11s is tried")
		} else if a.mode == "" {
			return conflict("its driver, %s, does neither 802.11s nor ad-hoc mode", r.Known.Driver)
		}
	case a.mode == "mesh" && r.Known.Mesh == board.No:
		return conflict("its driver, %s, does no 802.11s", r.Known.Driver)
	case a.mode == "adhoc" && r.Known.AdHoc == board.No:
		return conflict("its driver, %s, does no ad-hoc mode; try --mode mesh", r.Known.Driver)
	}
	if a.mode == "adhoc" && beside >= 0 {
		return conflict("ad-hoc mode does not work beside %s (OpenWrt since 21.02): use --mode mesh, or another radio", others[beside])
	}
	if a.mode == "adhoc" && r.Known.AdHoc == board.Poor {
		note("ad-hoc mode of its driver, %s, is known to fail with several stations; --mode mesh is better", r.Known.Driver)
	}

	a.channel = g.channel
	switch fixed := r.fixed(); {
	case beside >= 0 && fixed != 0 && g.channel != 0 && fixed != g.channel:
		return conflict("%s is on channel %d and a radio has one channel: give the mesh --channel %d, or move the access point first: uci set wireless.%s.channel=%d", others[beside], fixed, fixed, r.Name, g.channel)
	case beside >= 0 && fixed == 0 && g.channel == 0:
		return conflict("%s chooses its channel by itself, and a mesh needs one that all its routers know: --channel %d moves both there", others[beside], usual[r.Band])
	case g.channel == 0 && fixed != 0:
		a.channel = fixed
	case g.channel == 0:
		a.channel = usual[r.Band]
	case beside >= 0 && fixed != g.channel:
		note("%s moves to channel %d with the mesh", others[beside], g.channel)
	}
	if air.Frequency(r.Band, a.channel) == 0 {
		return conflict("band %s has no channel %d", r.Band, a.channel)
	}
	if r.Band == "5g" && a.channel >= 52 && a.channel <= 144 {
		note("channel %d is shared with radar: the radio listens for a minute before it begins, and leaves when it hears one; 36 to 48 do not", a.channel)
	}
	if r.Band == "5g" && r.Country == "" {
		note("it has no country, without which the driver may not begin on 5 GHz: uci set wireless.%s.country=…", r.Name)
	}
	if beside >= 0 {
		note("it shares its air time with %s", others[beside])
	}
	return a, nil
}
