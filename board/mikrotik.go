package board

var _ = add(Board{
	Names: []string{"mikrotik,hap-ac2"}, Title: "MikroTik hAP ac²", Target: "ipq40xx/mikrotik", Arch: "arm_cortex-a7_neon-vfpv4",
	Flash: 16, Radios: []Radio{ath10k("2.4"), ath10k("5")},
	Notes: "128 MiB of memory, some 256",
})
