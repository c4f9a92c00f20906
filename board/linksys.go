package board

var _ = add(Board{
	Names: []string{"linksys,wrt1900acs", "linksys,wrt3200acm"}, Title: "Linksys WRT1900ACS, WRT3200ACM",
	Target: "mvebu/cortexa9", Arch: "arm_cortex-a9_vfpv3-d16",
	Flash: 128, NAND: true, RAM: 512, Radios: []Radio{{"5", "mwlwifi", Unknown, No}, {"2.4", "mwlwifi", Unknown, No}},
	Notes: "no radio for a mesh: use wires, or a USB radio",
})
