package kernel_test

import (
	"testing"

	"globalnet/mesh/kernel/kerneltest"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }
