package main

import (
	"bytes"
	"debug/elf"
	"fmt"

	"globalnet/board"
)

var machines = map[string]struct {
	machine elf.Machine
	class   elf.Class
	data    elf.Data
}{
	"mips":   {elf.EM_MIPS, elf.ELFCLASS32, elf.ELFDATA2MSB},
	"mipsle": {elf.EM_MIPS, elf.ELFCLASS32, elf.ELFDATA2LSB},
	"arm":    {elf.EM_ARM, elf.ELFCLASS32, elf.ELFDATA2LSB},
	"arm64":  {elf.EM_AARCH64, elf.ELFCLASS64, elf.ELFDATA2LSB},
	"amd64":  {elf.EM_X86_64, elf.ELFCLASS64, elf.ELFDATA2LSB},
	"386":    {elf.EM_386, elf.ELFCLASS32, elf.ELFDATA2LSB},
}

// checkMachine refuses a binary of another architecture, or one that needs a
// dynamic linker: both say nothing but "not found" on the router.
func checkMachine(binary []byte, a board.Arch) error {
	f, err := elf.NewFile(bytes.NewReader(binary))
	if err != nil {
		return fmt.Errorf("binary for %s: %w", a.Name, err)
	}
	want := machines[a.GOARCH]
	if f.Machine != want.machine || f.Class != want.class || f.Data != want.data {
		return fmt.Errorf("binary for %s is of %v, %v, %v", a.Name, f.Machine, f.Class, f.Data)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("binary for %s is not static", a.Name)
		}
	}
	return nil
}
