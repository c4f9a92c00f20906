// Package air is what radios have to agree on to meet: the name of the mesh, the
// address of the cell, and which frequency a channel is. It is apart from package
// kernel because workstations without Linux plan radios too. It owns no state.
package air

import "net"

// MeshID is what all radios of the network agree on: those set up by UCI and those
// by nl80211 meet.
const MeshID = "globalnet"

// CellBSSID is the address of the ad-hoc cell. It is fixed, since a radio that may
// choose one looks around for seconds first, and two that did not hear each other
// choose two.
var CellBSSID = net.HardwareAddr{0x02, 0x67, 0x6e, 0x65, 0x74, 0x01}

// Frequency returns the middle of a channel in MHz; 0 if the band, "2g", "5g" or
// "6g", has none of that number.
func Frequency(band string, channel int) int {
	switch {
	case band == "2g" && channel == 14:
		return 2484
	case band == "2g" && channel >= 1 && channel <= 13:
		return 2407 + 5*channel
	case band == "5g" && channel >= 32 && channel <= 177:
		return 5000 + 5*channel
	case band == "6g" && channel >= 1 && channel <= 233:
		return 5950 + 5*channel
	}
	return 0
}
