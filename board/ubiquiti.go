package board

var _ = add(
	Board{
		Names: []string{"ubnt,unifiac-mesh"}, Title: "Ubiquiti UniFi AC Mesh", Target: "ath79/generic", Arch: "mips_24kc",
		Flash: 16, RAM: 128, Radios: []Radio{ath10k("5"), ath9k("2.4")},
	},
	Board{
		Names: []string{"ubnt,nanostation-m-xw", "ubnt,nanostation-loco-m-xw"},
		Title: "Ubiquiti NanoStation M XW", Target: "ath79/generic", Arch: "mips_24kc",
		Flash: 8, RAM: 64, Radios: []Radio{ath9k("2.4 or 5")},
		Notes: "8 MiB of flash: only in an image of its own",
	},
)
