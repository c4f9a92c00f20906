package kernel

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"globalnet/mesh"
)

// stationBytes encodes what a driver tells.
func stationBytes(t testing.TB, index uint32, mac []byte, info func(*netlink.AttributeEncoder)) []byte {
	t.Helper()
	ae := netlink.NewAttributeEncoder()
	if index != 0 {
		ae.Uint32(unix.NL80211_ATTR_IFINDEX, index)
	}
	ae.Bytes(unix.NL80211_ATTR_MAC, mac)
	ae.Uint32(unix.NL80211_ATTR_GENERATION, 7)
	if info != nil {
		ae.Nested(unix.NL80211_ATTR_STA_INFO, func(ae *netlink.AttributeEncoder) error {
			info(ae)
			return nil
		})
	}
	b, err := ae.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var testMAC = []byte{2, 0x11, 0x22, 0x33, 0x44, 0x55}

func TestParseStation(t *testing.T) {
	mac := [6]byte(testMAC)
	rate := func(rate16 uint16, rate32 uint32) func(*netlink.AttributeEncoder) {
		return func(ae *netlink.AttributeEncoder) {
			ae.Nested(unix.NL80211_STA_INFO_TX_BITRATE, func(ae *netlink.AttributeEncoder) error {
				if rate32 != 0 {
					ae.Uint32(unix.NL80211_RATE_INFO_BITRATE32, rate32)
				}
				if rate16 != 0 {
					ae.Uint16(unix.NL80211_RATE_INFO_BITRATE, rate16)
				}
				return nil
			})
		}
	}
	for name, c := range map[string]struct {
		info func(*netlink.AttributeEncoder)
		want Station
	}{
		"nothing known": {nil, Station{MAC: mac}},
		"signal only":   {func(ae *netlink.AttributeEncoder) { ae.Uint8(unix.NL80211_STA_INFO_SIGNAL, 256-71) }, Station{MAC: mac, Signal: -71}},
		"average preferred": {func(ae *netlink.AttributeEncoder) {
			ae.Uint8(unix.NL80211_STA_INFO_SIGNAL_AVG, 256-60)
			ae.Uint8(unix.NL80211_STA_INFO_SIGNAL, 256-71)
		}, Station{MAC: mac, Signal: -60}},
		"rates": {func(ae *netlink.AttributeEncoder) {
			rate(540, 540)(ae)
			ae.Uint32(unix.NL80211_STA_INFO_EXPECTED_THROUGHPUT, 32123)
			ae.Uint32(unix.NL80211_STA_INFO_INACTIVE_TIME, 1500)
			ae.Uint64(unix.NL80211_STA_INFO_RX_BYTES64, 1<<40)
		}, Station{MAC: mac, TxRate: 54_000_000, Expected: 32_123_000, Inactive: 1500 * time.Millisecond}},
		"old rate":           {rate(10, 0), Station{MAC: mac, TxRate: 1_000_000}},
		"rate over 6 Gbit/s": {rate(0, 96_000), Station{MAC: mac, TxRate: 9_600_000_000}},
	} {
		index, got, err := parseStation(stationBytes(t, 5, testMAC, c.info))
		if err != nil || index != 5 || got != c.want {
			t.Errorf("%s: %d, %+v, %v; %+v expected", name, index, got, err, c.want)
		}
	}
	for name, b := range map[string][]byte{
		"empty":        nil,
		"no interface": stationBytes(t, 0, testMAC, nil),
		"short MAC":    stationBytes(t, 5, testMAC[:5], nil),
		"cut":          stationBytes(t, 5, testMAC, rate(10, 10))[:30],
		"short signal": stationBytes(t, 5, testMAC, func(ae *netlink.AttributeEncoder) { ae.Uint16(unix.NL80211_STA_INFO_SIGNAL, 1) }),
	} {
		if _, s, err := parseStation(b); err == nil {
			t.Errorf("%s: parsed as %+v", name, s)
		}
	}
}

func TestStationChange(t *testing.T) {
	lo := stationBytes(t, 1, testMAC, nil)
	for command, want := range map[uint8]mesh.Change{
		unix.NL80211_CMD_NEW_STATION: {Kind: mesh.StationJoined, Ifname: "lo"},
		unix.NL80211_CMD_DEL_STATION: {Kind: mesh.StationLeft, Ifname: "lo"},
	} {
		got, ok := stationChange(genetlink.Message{Header: genetlink.Header{Command: command}, Data: lo})
		if !ok || got != want {
			t.Errorf("command %d: %+v, %v", command, got, ok)
		}
	}
	for name, m := range map[string]genetlink.Message{
		"another command":  {Header: genetlink.Header{Command: unix.NL80211_CMD_CONNECT}, Data: lo},
		"malformed":        {Header: genetlink.Header{Command: unix.NL80211_CMD_NEW_STATION}, Data: lo[:6]},
		"interface is off": {Header: genetlink.Header{Command: unix.NL80211_CMD_NEW_STATION}, Data: stationBytes(t, 99999, testMAC, nil)},
	} {
		if c, ok := stationChange(m); ok {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func FuzzParseStation(f *testing.F) {
	f.Add(stationBytes(f, 5, testMAC, func(ae *netlink.AttributeEncoder) {
		ae.Uint8(unix.NL80211_STA_INFO_SIGNAL, 200)
		ae.Uint32(unix.NL80211_STA_INFO_EXPECTED_THROUGHPUT, 1)
	}))
	f.Add([]byte{8, 0, 3, 0, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		index, s, err := parseStation(b)
		if err != nil && (index != 0 || s != Station{}) {
			t.Errorf("a station beside an error: %+v", s)
		}
	})
}

// TestEndpointMessage compares with the bytes that the kernel's headers prescribe,
// written down by hand for a little-endian machine.
func TestEndpointMessage(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		t.Skip("the bytes below are little-endian")
	}
	key := [32]byte(bytes.Repeat([]byte{0xaa}, 32))
	b, err := endpointMessage("gn-a", key, sockaddr(netip.MustParseAddrPort("[fe80::2%ignored]:18250"), 7))
	if err != nil {
		t.Fatal(err)
	}
	want := "0900" + "0200" + "676e2d6100" + "000000" + // IFNAME "gn-a", padded
		"5400" + "0880" + // PEERS, nested
		"5000" + "0080" + // peer 0, nested
		"2400" + "0100" + hex.EncodeToString(key[:]) +
		"0800" + "0300" + "04000000" +
		"2000" + "0400" + // ENDPOINT
		"0a00" + "474a" + "00000000" + "fe800000000000000000000000000002" + "07000000"
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("message\n%s,\n%s expected", got, want)
	}
	four := sockaddr(netip.MustParseAddrPort("[::ffff:192.0.2.1]:18250"), 0)
	if got := hex.EncodeToString(four); got != "0200474ac00002010000000000000000" {
		t.Errorf("IPv4 address %s", got)
	}
}
