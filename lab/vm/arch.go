package vm

import "fmt"

// arch is a kind of machine: where its kernel comes from and how QEMU is told of it.
type arch struct {
	name     string   // GOARCH
	settings []string // of the Go tool, beside GOARCH
	debian   string   // the architecture of its packages
	kernel   string   // the package that depends on the kernel's, whose own name has a number that moves
	built    bool     // instead of that: its kernel is built from the source
	qemu     string
	pkg      string   // that has qemu
	args     []string // of qemu
	console  string
	append   string // more for the kernel
}

// archs are the kinds there are. Debian has no kernel and no packages for big-endian MIPS.
var archs = []arch{
	{
		name: "amd64", debian: "amd64", kernel: "linux-image-amd64",
		qemu: "qemu-system-x86_64", pkg: "qemu-system-x86",
		args: []string{"-machine", "q35", "-cpu", "max"}, console: "ttyS0",
		append: "mitigations=off random.trust_cpu=on tsc=reliable no_timer_check",
	},
	{
		name: "mipsle", settings: []string{"GOMIPS=softfloat"}, debian: "mipsel", kernel: "linux-image-4kc-malta",
		qemu: "qemu-system-mipsel", pkg: "qemu-system-mips",
		args: []string{"-machine", "malta", "-cpu", "24Kf"}, console: "ttyS0",
		append: "random.trust_bootloader=on",
	},
	{
		name: "mips", settings: []string{"GOMIPS=softfloat"}, built: true,
		qemu: "qemu-system-mips", pkg: "qemu-system-mips",
		args: []string{"-machine", "malta", "-cpu", "24Kf"}, console: "ttyS0",
		append: "random.trust_bootloader=on",
	},
	{
		name: "arm", settings: []string{"GOARM=7"}, debian: "armhf", kernel: "linux-image-armmp",
		qemu: "qemu-system-arm", pkg: "qemu-system-arm",
		args: []string{"-machine", "virt", "-cpu", "cortex-a7"}, console: "ttyAMA0",
		append: "random.trust_bootloader=on",
	},
}

// archOf finds a kind by the name Go has for it; without one it is amd64.
func archOf(name string) (arch, error) {
	if name == "" {
		return archs[0], nil
	}
	for _, a := range archs {
		if a.name == name {
			return a, nil
		}
	}
	return arch{}, fmt.Errorf("there is no virtual machine of architecture %s", name)
}
