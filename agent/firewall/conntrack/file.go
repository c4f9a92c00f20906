package conntrack

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// file is the table as text, of this thread's namespace.
	file = "/proc/thread-self/net/nf_conntrack"
	// mostEach is how many addresses are removed one by one; of more, all flows are.
	mostEach = 256
)

// byFile removes flows as OpenWrt's kernel can (its patch 600-netfilter_conntrack_flush): an
// address that is written into the table takes all flows from and to it along, anything
// else takes all.
func byFile(path string, family int, doomed func(src, dst netip.Addr) bool) error {
	table, err := os.Open(path)
	if err != nil {
		return err
	}
	defer table.Close()
	found := make(map[netip.Addr]bool)
	lines := bufio.NewScanner(table)
	for lines.Scan() && len(found) <= mostEach {
		src, dst := addressesOf(lines.Text())
		if src.IsValid() && src.Is4() == (family == unix.AF_INET) && !found[src] && doomed(src, dst) {
			found[src] = true
		}
	}
	if err := lines.Err(); err != nil || len(found) == 0 {
		return err
	}
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer w.Close()
	if len(found) > mostEach {
		_, err := w.WriteString("f\n")
		return err
	}
	for addr := range found {
		if _, err := fmt.Fprintln(w, addr); err != nil {
			return err
		}
	}
	return nil
}

// addressesOf reads those of a line: they come twice, as the flow began and as it is answered.
func addressesOf(line string) (src, dst netip.Addr) {
	for word := range strings.FieldsSeq(line) {
		switch key, value, _ := strings.Cut(word, "="); {
		case key == "src" && !src.IsValid():
			src, _ = netip.ParseAddr(value)
		case key == "dst" && !dst.IsValid():
			dst, _ = netip.ParseAddr(value)
			return src, dst
		}
	}
	return netip.Addr{}, netip.Addr{}
}
