package board

// A PC names itself by its firmware, each differently: these are the machines
// that are everywhere. Others are run as what they show.
var _ = add(Board{
	Names: []string{"qemu-standard-pc-q35-ich9-2009", "qemu-standard-pc-i440fx-piix-1996"},
	Title: "PC or virtual machine", Target: "x86/64", Arch: "x86_64",
})
