package board

// The radio on board does neither mode well enough: a USB radio is needed.
var brcmfmac = []Radio{{"2.4 5", "brcmfmac", No, No}}

var _ = add(
	Board{
		Names: []string{"raspberrypi,3-model-b", "raspberrypi,3-model-b-plus"},
		Title: "Raspberry Pi 3", Target: "bcm27xx/bcm2710", Arch: "aarch64_cortex-a53", RAM: 1024, Radios: brcmfmac,
	},
	Board{
		Names: []string{"raspberrypi,4-model-b", "raspberrypi,400"},
		Title: "Raspberry Pi 4", Target: "bcm27xx/bcm2711", Arch: "aarch64_cortex-a72", Radios: brcmfmac,
	},
	Board{
		Names: []string{"raspberrypi,5-model-b"},
		Title: "Raspberry Pi 5", Target: "bcm27xx/bcm2712", Arch: "aarch64_cortex-a76", Radios: brcmfmac,
	},
)
