package board

var _ = add(Board{
	Names: []string{"librerouter,librerouter-v1"}, Title: "LibreRouter v1", Target: "ath79/generic", Arch: "mips_24kc",
	Flash: 16, RAM: 128, Radios: []Radio{ath9k("2.4"), ath9k("5"), ath9k("5")},
})
