package router

// Model is what a router of a test is.
type Model struct {
	Board, Arch, Release string
	APK                  bool   // its package manager is apk, else opkg
	Without              string // programs it has not
	RootFS               string // "squashfs" if empty
	OpenSSH              bool   // its SSH server is OpenSSH's, else dropbear
	Password             bool   // of root, Password; else root has none
	Self                 bool   // the program that plays it is at Self
}

// What some routers have.
const (
	Password = "correct horse battery"
	Self     = "/usr/libexec/globalnet"
)

// Routers of tests, by their board names.
var (
	AR300M      = Model{Board: "glinet,gl-ar300m16", Arch: "mips_24kc", Release: "23.05.5"}
	MT3000      = Model{Board: "glinet,gl-mt3000", Arch: "aarch64_cortex-a53", Release: "25.12.5", APK: true}
	One         = Model{Board: "openwrt,one", Arch: "aarch64_cortex-a53", Release: "25.12.6", APK: true, Without: "start-stop-daemon"}
	Archer      = Model{Board: "tplink,archer-c7-v5", Arch: "mips_24kc", Release: "24.10.6", Without: "start-stop-daemon setsid"}
	UniFi       = Model{Board: "ubnt,unifiac-mesh", Arch: "mips_24kc", Release: "25.12.5", APK: true, Without: "setsid"}
	RaspberryPi = Model{Board: "raspberrypi,4-model-b", Arch: "aarch64_cortex-a72", Release: "25.12.5", APK: true}
	Models      = []Model{AR300M, MT3000, One, Archer, UniFi}
)

// Wireless is their radio and its open access point, both off as OpenWrt ships them.
const Wireless = `config wifi-device 'radio0'
	option type 'mac80211'
	option band '2g'
	option channel 'auto'
	option disabled '1'

config wifi-iface 'default_radio0'
	option device 'radio0'
	option network 'lan'
	option mode 'ap'
	option ssid 'OpenWrt'
	option encryption 'none'
`
