package board

var _ = add(Board{
	Names: []string{"openwrt,one"}, Title: "OpenWrt One", Target: "mediatek/filogic", Arch: "aarch64_cortex-a53",
	Flash: 256, NAND: true, RAM: 1024, Radios: []Radio{mt7915("2.4"), mt7915("5")}, LED: "green:status",
})
