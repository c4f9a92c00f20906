package board

var _ = add(Board{
	Names: []string{"netgear,r7800"}, Title: "Netgear R7800", Target: "ipq806x/generic", Arch: "arm_cortex-a15_neon-vfpv4",
	Flash: 128, NAND: true, RAM: 512, Radios: []Radio{ath10k("5"), ath10k("2.4")},
})
