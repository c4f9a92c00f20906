package vm

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Frozen is a machine that has booted, and waits. It saves the time of a boot to all
// that start from it. What it has as Disks and Flash is not part of it.
type Frozen struct {
	spec Spec
	dir  string
}

// waitLine is what a script prints when the machine may be frozen.
const waitLine = "FREEZE"

// wait is the end of a script's first part.
const wait = "echo " + waitLine + "\nread go </dev/console\n"

// Freeze boots a machine, runs the script before, and stops it in a file.
func Freeze(ctx context.Context, s Spec, before string) (*Frozen, error) {
	dir, err := os.MkdirTemp("", "globalnet-vm-")
	if err != nil {
		return nil, err
	}
	f := &Frozen{s, dir}
	s.Script = before + "\n" + wait + s.Script
	s.monitor = filepath.Join(dir, "monitor")
	s.keep = filepath.Join(dir, "initrd")
	frozen := make(chan error, 1)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s.Output = &onLine{line: waitLine, next: s.Output, do: func() {
		frozen <- save(ctx, s.monitor, f.file())
		stop()
	}}
	log, rc, err := Run(ctx, s)
	select {
	case err = <-frozen:
	default:
		err = fmt.Errorf("the machine ended before it was frozen: status %d, %w\n%s", rc, err, log)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (f *Frozen) file() string { return filepath.Join(f.dir, "machine") }

// Run goes on with the script, as Run does. The disks are as they are now.
func (f *Frozen) Run(ctx context.Context, output io.Writer) (log string, rc int, err error) {
	frozen := f.spec
	frozen.Output, frozen.keep, frozen.thaw = output, filepath.Join(f.dir, "initrd"), f.file()
	return Run(ctx, frozen)
}

// Close removes the machine.
func (f *Frozen) Close() error { return os.RemoveAll(f.dir) }

// ignoreShared leaves out of a frozen machine the memory that is a file: its Flash.
var ignoreShared = command{"migrate-set-capabilities", map[string]any{
	"capabilities": []map[string]any{{"capability": "x-ignore-shared", "state": true}},
}}

// save has QEMU write a machine to a file.
func save(ctx context.Context, monitor, file string) error {
	return control(ctx, monitor, command{"stop", nil}, ignoreShared, command{"migrate", map[string]any{"uri": "exec:cat >" + file}})
}

// thaw has QEMU go on with a machine in a file.
func thaw(ctx context.Context, monitor, file string) error {
	err := control(ctx, monitor, ignoreShared, command{"migrate-incoming", map[string]any{"uri": "exec:cat " + file}})
	if err != nil {
		return err
	}
	return control(ctx, monitor, command{"cont", nil}) // it was stopped when it was saved
}
