package flash

import (
	"fmt"
	"strings"
)

// FirstBoot is the script that configures a router when it starts an image with the
// agent inside for the first time: what flash would do, without anybody to see it.
// It is for /etc/uci-defaults, which keeps a script that did not succeed for the
// next start; the passphrase, if there is one, is in a file of its own.
func (o *Options) FirstBoot() (script string, err error) {
	if err := o.validate(); err != nil {
		return "", err
	}
	e, err := o.edits(&Router{LAN: []string{"br-lan"}}) // OpenWrt's own
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("#!/bin/sh\n# The first configuration of this image. It is sourced, and must not exit.\n")
	if len(e.lines) > 0 {
		fmt.Fprintf(&b, "uci -q batch <<'END' >/dev/null\n%sEND\n", e.batch())
	}
	switch {
	case o.MeshRadio == "auto":
		b.WriteString("for radio in $(uci -q show wireless | sed -n \"s/^wireless\\.\\(.*\\)=wifi-device$/\\1/p\"); do\n" +
			"\tglobalnet radio setup \"$radio\"" + o.channelFlag() + " --no-reload >/dev/null && break\ndone\n" +
			"uci -q show globalnet | grep -q '=radio$' || return 1\n")
	case o.MeshRadio != "":
		fmt.Fprintf(&b, "globalnet radio setup %s%s --no-reload >/dev/null || return 1\n", o.MeshRadio, o.channelFlag())
	case e.setUp:
		b.WriteString("globalnet setup --no-reload >/dev/null || return 1\n")
	}
	b.WriteString("return 0\n")
	return b.String(), nil
}

func (o *Options) channelFlag() string {
	if o.Channel == 0 {
		return ""
	}
	return fmt.Sprintf(" --channel %d", o.Channel)
}

// PassphraseFile is where FirstBoot wants the passphrase, in one line, mode 0600.
const PassphraseFile = passphraseFile
