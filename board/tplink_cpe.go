package board

var _ = add(
	Board{
		Names: []string{"tplink,cpe210-v1", "tplink,cpe210-v2", "tplink,cpe210-v3"},
		Title: "TP-Link CPE210", Target: "ath79/generic", Arch: "mips_24kc",
		Flash: 8, RAM: 64, Radios: []Radio{ath9k("2.4")},
		Notes: "the stock image fills the flash: only in an image of its own",
	},
	Board{
		Names: []string{"tplink,cpe510-v1", "tplink,cpe510-v2", "tplink,cpe510-v3"},
		Title: "TP-Link CPE510", Target: "ath79/generic", Arch: "mips_24kc",
		Flash: 8, RAM: 64, Radios: []Radio{ath9k("5")},
		Notes: "the stock image fills the flash: only in an image of its own",
	},
	Board{
		Names: []string{"tplink,cpe710-v1", "tplink,cpe710-v2"},
		Title: "TP-Link CPE710", Target: "ath79/generic", Arch: "mips_24kc",
		Flash: 16, RAM: 128, Radios: []Radio{ath10k("5")},
	},
)
