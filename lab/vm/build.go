package vm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

// tags are those of the Makefile.
const tags = "nethttpomithttp2"

// Build compiles a command of this module for a machine, static, to the file out.
func Build(ctx context.Context, arch, out, pkg string) error {
	return goTool(ctx, arch, "build", "-trimpath", "-buildvcs=false", "-tags", tags, "-ldflags", "-s -w", "-o", out, pkg)
}

// BuildTest compiles the tests of a package of this module, static, to the file out.
func BuildTest(ctx context.Context, arch, out, pkg string) error {
	return goTool(ctx, arch, "test", "-c", "-trimpath", "-buildvcs=false", "-tags", tags, "-ldflags", "-s -w", "-o", out, pkg)
}

func goTool(ctx context.Context, arch string, args ...string) error {
	a, err := archOf(arch)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+a.name), a.settings...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w: %s", args[0], err, out)
	}
	return nil
}
