package board

var _ = add(
	Board{
		Names: []string{"glinet,gl-ar150"}, Title: "GL.iNet GL-AR150", Target: "ath79/generic", Arch: "mips_24kc",
		Flash: 16, RAM: 64, Radios: []Radio{ath9k("2.4")},
		Notes: "memory is just enough: no relay",
	},
	Board{
		Names: []string{"glinet,gl-ar300m16", "glinet,gl-ar300m-nor", "glinet,gl-ar300m-nand", "glinet,gl-ar300m-lite"},
		Title: "GL.iNet GL-AR300M", Target: "ath79/generic", Arch: "mips_24kc",
		Flash: 16, RAM: 128, Radios: []Radio{ath9k("2.4")}, LED: "green:status",
		Notes: "the model with NAND has its target ath79/nand",
	},
	Board{
		Names: []string{"glinet,gl-ar750"}, Title: "GL.iNet GL-AR750", Target: "ath79/generic", Arch: "mips_24kc",
		Flash: 16, RAM: 128, Radios: []Radio{ath10k("5"), ath9k("2.4")},
	},
)
