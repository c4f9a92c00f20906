package board

var _ = add(Board{
	Names: []string{"cudy,wr3000-v1", "cudy,wr3000s-v1"}, Title: "Cudy WR3000", Target: "mediatek/filogic", Arch: "aarch64_cortex-a53",
	Flash: 128, NAND: true, RAM: 256, Radios: []Radio{mt7915("2.4"), mt7915("5")},
})
