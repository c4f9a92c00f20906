package kernel

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// maxStations bounds the stations of one radio that are looked at.
const maxStations = 512

// Station is what a radio's driver tells of another radio. Drivers leave out what
// they do not know; it is zero then.
type Station struct {
	MAC      [6]byte
	Signal   int           // dBm, averaged where the driver does
	TxRate   int64         // bits per second of the latest transmission to it
	Expected int64         // bits per second that rate control expects to get through
	Inactive time.Duration // since it was last heard
}

var errStation = errors.New("malformed nl80211 station")

// parseStation reads the attributes of NL80211_CMD_NEW_STATION or DEL_STATION.
//
//	NL80211_ATTR_IFINDEX    u32
//	NL80211_ATTR_MAC        6 bytes
//	NL80211_ATTR_STA_INFO   nested
//	  INACTIVE_TIME         u32, ms
//	  SIGNAL, SIGNAL_AVG    s8, dBm
//	  TX_BITRATE            nested: BITRATE u16 or BITRATE32 u32, both in 100 kbit/s
//	  EXPECTED_THROUGHPUT   u32, kbit/s
func parseStation(b []byte) (ifindex int, s Station, err error) {
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return 0, s, fmt.Errorf("%w: %w", errStation, err)
	}
	var haveMAC bool
	for ad.Next() {
		switch ad.Type() {
		case unix.NL80211_ATTR_IFINDEX:
			ifindex = int(ad.Uint32())
		case unix.NL80211_ATTR_MAC:
			if v := ad.Bytes(); len(v) == len(s.MAC) {
				haveMAC = true
				copy(s.MAC[:], v)
			}
		case unix.NL80211_ATTR_STA_INFO:
			ad.Nested(s.parseInfo)
		}
	}
	if err := ad.Err(); err != nil {
		return 0, Station{}, fmt.Errorf("%w: %w", errStation, err)
	}
	if ifindex <= 0 || !haveMAC {
		return 0, Station{}, fmt.Errorf("%w: no interface or no address", errStation)
	}
	return ifindex, s, nil
}

func (s *Station) parseInfo(ad *netlink.AttributeDecoder) error {
	var signal, average int8
	for ad.Next() {
		switch ad.Type() {
		case unix.NL80211_STA_INFO_INACTIVE_TIME:
			s.Inactive = time.Duration(ad.Uint32()) * time.Millisecond
		case unix.NL80211_STA_INFO_SIGNAL:
			signal = int8(ad.Uint8())
		case unix.NL80211_STA_INFO_SIGNAL_AVG:
			average = int8(ad.Uint8())
		case unix.NL80211_STA_INFO_TX_BITRATE:
			ad.Nested(s.parseRate)
		case unix.NL80211_STA_INFO_EXPECTED_THROUGHPUT:
			s.Expected = int64(ad.Uint32()) * 1000
		}
	}
	s.Signal = int(average)
	if average == 0 {
		s.Signal = int(signal)
	}
	return ad.Err()
}

func (s *Station) parseRate(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case unix.NL80211_RATE_INFO_BITRATE:
			if s.TxRate == 0 {
				s.TxRate = int64(ad.Uint16()) * 100_000
			}
		case unix.NL80211_RATE_INFO_BITRATE32:
			s.TxRate = int64(ad.Uint32()) * 100_000
		}
	}
	return ad.Err()
}

// String is the address, which is how a station is named in logs.
func (s Station) String() string { return net.HardwareAddr(s.MAC[:]).String() }
