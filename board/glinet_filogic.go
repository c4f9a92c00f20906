package board

var _ = add(Board{
	Names: []string{"glinet,gl-mt3000"}, Title: "GL.iNet GL-MT3000", Target: "mediatek/filogic", Arch: "aarch64_cortex-a53",
	Flash: 256, NAND: true, RAM: 512, Radios: []Radio{mt7915("2.4"), mt7915("5")}, LED: "white:system",
	Notes: "ad-hoc sends no beacons",
})
