package board

import "slices"

// Arch is a package architecture of OpenWrt and the Go settings whose binary
// runs on it. Several architectures share a binary.
type Arch struct {
	Name   string // as `opkg print-architecture` and /etc/apk/arch say
	Binary string // suffix of dist/globalnet-
	GOARCH string
	GOMIPS string
	GOARM  string
	GO386  string
}

// arches is the table. Where OpenWrt names no floating-point unit it has its
// compiler emit none, and so has Go: an unsuffixed ARM architecture takes ARMv5.
var arches = []Arch{
	{Name: "mips_24kc", Binary: "mips", GOARCH: "mips", GOMIPS: "softfloat"},
	{Name: "mipsel_24kc", Binary: "mipsle", GOARCH: "mipsle", GOMIPS: "softfloat"},
	{Name: "mipsel_74kc", Binary: "mipsle", GOARCH: "mipsle", GOMIPS: "softfloat"},
	{Name: "arm_cortex-a7", Binary: "arm5", GOARCH: "arm", GOARM: "5"},
	{Name: "arm_arm926ej-s", Binary: "arm5", GOARCH: "arm", GOARM: "5"},
	{Name: "arm_arm1176jzf-s_vfp", Binary: "arm6", GOARCH: "arm", GOARM: "6"},
	{Name: "arm_cortex-a7_neon-vfpv4", Binary: "arm7", GOARCH: "arm", GOARM: "7"},
	{Name: "arm_cortex-a9_vfpv3-d16", Binary: "arm7", GOARCH: "arm", GOARM: "7"},
	{Name: "arm_cortex-a15_neon-vfpv4", Binary: "arm7", GOARCH: "arm", GOARM: "7"},
	{Name: "aarch64_cortex-a53", Binary: "arm64", GOARCH: "arm64"},
	{Name: "aarch64_cortex-a72", Binary: "arm64", GOARCH: "arm64"},
	{Name: "aarch64_cortex-a76", Binary: "arm64", GOARCH: "arm64"},
	{Name: "aarch64_generic", Binary: "arm64", GOARCH: "arm64"},
	{Name: "x86_64", Binary: "amd64", GOARCH: "amd64"},
	{Name: "i386_pentium4", Binary: "386", GOARCH: "386", GO386: "sse2"},
}

// Arches returns every package architecture, in the order of the table.
func Arches() []Arch { return slices.Clone(arches) }

// LookupArch returns the architecture of a name.
func LookupArch(name string) (Arch, bool) {
	i := slices.IndexFunc(arches, func(a Arch) bool { return a.Name == name })
	if i < 0 {
		return Arch{}, false
	}
	return arches[i], true
}
