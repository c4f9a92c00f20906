package board

var _ = add(Board{
	Names: []string{"tplink,archer-c7-v2", "tplink,archer-c7-v4", "tplink,archer-c7-v5", "tplink,archer-a7-v5"},
	Title: "TP-Link Archer C7, A7", Target: "ath79/generic", Arch: "mips_24kc",
	Flash: 16, RAM: 128, Radios: []Radio{ath10k("5"), ath9k("2.4")},
})
