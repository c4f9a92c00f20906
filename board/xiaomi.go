package board

var _ = add(
	Board{
		Names: []string{"xiaomi,mi-router-4a-gigabit", "xiaomi,mi-router-4a-gigabit-v2"},
		Title: "Xiaomi Mi Router 4A Gigabit", Target: "ramips/mt7621", Arch: "mipsel_24kc",
		Flash: 16, RAM: 128, Radios: []Radio{mt76("2.4"), mt76("5")},
	},
	Board{
		Names: []string{"xiaomi,mi-router-ax3000t", "xiaomi,mi-router-ax3000t-ubootmod"},
		Title: "Xiaomi AX3000T", Target: "mediatek/filogic", Arch: "aarch64_cortex-a53",
		Flash: 128, NAND: true, RAM: 256, Radios: []Radio{mt7915("2.4"), mt7915("5")},
	},
)
