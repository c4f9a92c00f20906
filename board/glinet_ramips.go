package board

var _ = add(
	Board{
		Names: []string{"glinet,gl-mt300n-v2"}, Title: "GL.iNet GL-MT300N v2", Target: "ramips/mt76x8", Arch: "mipsel_24kc",
		Flash: 16, RAM: 128, Radios: []Radio{{"2.4", "mt7603e", Good, No}},
		Notes: "ad-hoc breaks down with several nodes",
	},
	Board{
		Names: []string{"glinet,gl-mt1300"}, Title: "GL.iNet GL-MT1300", Target: "ramips/mt7621", Arch: "mipsel_24kc",
		Flash: 32, RAM: 256, Radios: []Radio{mt76("2.4"), mt76("5")},
	},
)
