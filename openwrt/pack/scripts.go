package pack

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// The maintainer scripts around the bodies are those that every package of
// OpenWrt has: /lib/functions.sh does the work, finds services and first-boot
// scripts by the list of files, and calls the body.

const skipInImages = "[ \"${IPKG_NO_SCRIPT}\" = \"1\" ] && exit 0\n"

const loadFunctions = `[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0
. ${IPKG_INSTROOT}/lib/functions.sh
`

const (
	opkgPostinst = "#!/bin/sh\n" + skipInImages + loadFunctions + "default_postinst $0 $@\n"
	opkgPrerm    = "#!/bin/sh\n" + loadFunctions + "default_prerm $0 $@\n"
)

// apkScript is one script of the apk form. The calls take their arguments from
// root and pkgname, because apk gives scripts no path to go by.
func (p *Package) apkScript(before, call, body string) string {
	return "#!/bin/sh\n" + before + skipInImages + loadFunctions +
		"export root=\"${IPKG_INSTROOT}\"\nexport pkgname=\"" + p.Name + "\"\n" + call + body
}

func (p *Package) postInstall() string {
	return p.apkScript("", "add_group_and_user\ndefault_postinst\n", p.AfterInstall)
}

func (p *Package) postUpgrade() string {
	return p.apkScript("export PKG_UPGRADE=1\n", "add_group_and_user\ndefault_postinst\n", p.AfterInstall)
}

func (p *Package) preDeinstall() string {
	return p.apkScript("", "default_prerm\n", p.BeforeRemove)
}

// apkFiles are the files that OpenWrt's shell functions read in an apk package:
// without the list no service is enabled or started.
func (p *Package) apkFiles() []File {
	dir := "lib/apk/packages/" + p.Name
	var list, conf, sums strings.Builder
	for _, f := range p.Files {
		fmt.Fprintf(&list, "/%s\n", f.Path)
	}
	for _, c := range p.ConfFiles {
		f, _ := p.file(c[1:])
		fmt.Fprintf(&conf, "%s\n", c)
		fmt.Fprintf(&sums, "%s %x\n", c, sha256.Sum256(f.Content))
	}
	files := []File{{Path: dir + ".list", Mode: 0o644, Content: []byte(list.String())}}
	if len(p.ConfFiles) > 0 {
		files = append(files,
			File{Path: dir + ".conffiles", Mode: 0o644, Content: []byte(conf.String())},
			File{Path: dir + ".conffiles_static", Mode: 0o644, Content: []byte(sums.String())})
	}
	return files
}
