package board

var _ = add(Board{
	Names: []string{"glinet,gl-b1300"}, Title: "GL.iNet GL-B1300", Target: "ipq40xx/generic", Arch: "arm_cortex-a7_neon-vfpv4",
	Flash: 32, RAM: 256, Radios: []Radio{ath10k("2.4"), ath10k("5")},
})
