package conntrack

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"globalnet/lab/labtest"
)

// A file in place of OpenWrt's: no kernel here has its patch.
func TestByFile(t *testing.T) {
	const text = `ipv4     2 tcp      6 431999 ESTABLISHED src=192.168.1.20 dst=203.0.113.1 sport=5000 dport=443 src=203.0.113.1 dst=198.51.100.2 sport=443 dport=5000 [ASSURED] mark=0 zone=0 use=2
ipv4     2 tcp      6 431999 ESTABLISHED src=192.168.1.20 dst=203.0.113.2 sport=5001 dport=443 packets=3 bytes=180 src=203.0.113.2 dst=198.51.100.2 sport=443 dport=5001 packets=1 bytes=60 [OFFLOAD] mark=0 zone=0 use=2
ipv4     2 udp      17 20 src=192.168.1.21 dst=192.168.1.1 sport=5000 dport=53 src=192.168.1.1 dst=192.168.1.21 sport=53 dport=5000 mark=0 zone=0 use=2
ipv4     2 unknown  2 500 src=192.168.1.22 dst=224.0.0.22 [UNREPLIED] src=224.0.0.22 dst=192.168.1.22 mark=0 zone=0 use=2
ipv6     10 tcp      6 40 src=fd00:0077:0000:0000:0000:0000:0000:0020 dst=2001:0db8:0000:0000:0000:0000:0000:0001 sport=5000 dport=443 src=2001:0db8:0000:0000:0000:0000:0000:0001 dst=fd00:0077:0000:0000:0000:0000:0000:0020 sport=443 dport=5000 mark=0 zone=0 use=2
src=192.168.1.23 is no flow
`
	many := ""
	for i := range mostEach + 1 {
		many += fmt.Sprintf("ipv4 2 udp 17 20 src=192.168.%d.%d dst=203.0.113.1 sport=1 dport=2\n", 2+i/256, i%256)
	}
	lan := netip.MustParsePrefix("192.168.0.0/16")
	lan6 := netip.MustParsePrefix("fd00:77::/64")
	doomed := func(src, dst netip.Addr) bool {
		return (lan.Contains(src) || lan6.Contains(src)) && !lan.Contains(dst)
	}
	for name, x := range map[string]struct {
		text   string
		family int
		want   []string
	}{
		"IPv4":    {text, unix.AF_INET, []string{"192.168.1.20", "192.168.1.22"}},
		"IPv6":    {text, unix.AF_INET6, []string{"fd00:77::20"}},
		"nothing": {"", unix.AF_INET, nil},
		"many":    {many, unix.AF_INET, []string{"f"}},
	} {
		path := filepath.Join(t.TempDir(), "nf_conntrack")
		if err := os.WriteFile(path, []byte(x.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := byFile(path, x.family, doomed); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		written := strings.Fields(strings.TrimPrefix(string(b), x.text))
		slices.Sort(written)
		if !slices.Equal(written, x.want) {
			t.Errorf("%s: %q", name, written)
		}
	}
}

// The kernel's own table is read; of a kernel that does not have OpenWrt's patch, writing is refused.
func TestByFileOfAnotherKernel(t *testing.T) {
	ns := labtest.Namespace(t, "router")
	err := ns.Do(func() error {
		add(t, unix.AF_INET, "192.168.1.20", "203.0.113.1", 1000)
		seen := 0
		if err := byFile(file, unix.AF_INET, func(src, dst netip.Addr) bool { seen++; return false }); err != nil {
			return err
		}
		if seen != 1 {
			t.Errorf("%d flows", seen)
		}
		if err := byFile(file, unix.AF_INET, func(src, dst netip.Addr) bool { return true }); err == nil {
			t.Error("written")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
