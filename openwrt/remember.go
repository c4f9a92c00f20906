package openwrt

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"globalnet/openwrt/uci"
)

// What is changed in sections of others is noted in the list `changed` of the radio
// it was changed for, one value each: package.section.option=was:is. An empty was
// means that the option was not there. Options of the owner's own list are added
// to, so that there `is` is the value to remove.

// tune gives the radio the channel, and switches it on with nothing else on it.
func (fs files) tune(r Radio, o OnAir) error {
	if r.fixed() != o.Channel {
		if err := fs.set(o.Radio, "wireless."+r.Name+".channel", strconv.Itoa(o.Channel)); err != nil {
			return err
		}
	}
	if !r.Disabled {
		return nil
	}
	// Access points that never were on the air, such as OpenWrt's open one, do not
	// come with it.
	for _, u := range r.others() {
		if err := fs.set(o.Radio, "wireless."+u.Section+".disabled", "1"); err != nil {
			return err
		}
	}
	return fs.set(o.Radio, "wireless."+r.Name+".disabled", "0")
}

// set changes an option of the owner's, and notes it.
func (fs files) set(radio, target, value string) error {
	f, ref, name, ok := fs.target(target)
	if !ok {
		return fmt.Errorf("changing %s: no such section", target)
	}
	was, _ := f.Get(ref, name)
	if was == value {
		return nil
	}
	if err := f.Set(ref, name, value); err != nil {
		return err
	}
	return fs.remember(radio, target, was, value)
}

// remember notes a change; of several of the same option, the oldest value is it.
func (fs files) remember(radio, target, was, is string) error {
	ours := fs["globalnet"]
	notes := ours.List(radio, "changed")
	for i, n := range notes {
		if t, oldest, _, ok := parseNote(n); ok && t == target && !strings.HasSuffix(target, ".interface") {
			notes = slices.Delete(slices.Clone(notes), i, i+1)
			was = oldest
			break
		}
	}
	return ours.SetList(radio, "changed", append(notes, target+"="+was+":"+is)...)
}

func parseNote(n string) (target, was, is string, ok bool) {
	target, values, ok := strings.Cut(n, "=")
	was, is, ok2 := strings.Cut(values, ":")
	return target, was, is, ok && ok2
}

// restore puts back what was changed for a radio, unless its owner changed it again.
func (fs files) restore(radio string) (notes []string) {
	ours := fs["globalnet"]
	for _, n := range slices.Backward(ours.List(radio, "changed")) {
		target, was, is, ok := parseNote(n)
		if !ok {
			notes = append(notes, fmt.Sprintf("%s: %q in list changed is not understood", radio, n))
			continue
		}
		f, ref, name, ok := fs.target(target)
		if !ok {
			continue // the owner removed it
		}
		if strings.HasPrefix(target, "globalnet.") {
			f.RemoveList(ref, name, is)
			continue
		}
		switch now, _ := f.Get(ref, name); {
		case now != is:
			notes = append(notes, fmt.Sprintf("%s: %s is %q by now, and stays so", radio, target, now))
		case was == "":
			f.Delete(ref, name)
		default:
			_ = f.Set(ref, name, was) // the section is there, and the value was
		}
	}
	ours.Delete(radio, "changed")
	return notes
}

// target finds the section that package.section.option is in. The reference of an
// anonymous section, @type[0], has no dots.
func (fs files) target(text string) (f *uci.File, ref, name string, ok bool) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 || fs[parts[0]] == nil {
		return nil, "", "", false
	}
	f = fs[parts[0]].File
	_, ok = f.Type(parts[1])
	return f, parts[1], parts[2], ok
}
