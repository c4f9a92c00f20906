package config

import (
	"strings"
	"testing"
)

func TestRadio(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "",
		"\toption mode 'mesh'\n":  "",
		"\toption mode 'ap'\n":    "want one of auto, mesh, adhoc",
		"\toption channel '36'\n": "",
		"\toption channel 'x'\n":  "from 0 to 233",
		"\toption mesh_id ''\n":   "1 to 32 bytes",
		"\toption mesh_id '" + strings.Repeat("x", 33) + "'\n": "1 to 32 bytes",
		"\tlist changed 'wireless.radio0.channel=auto:1'\n":    "",
		"\toption chanel '1'\n":                                "warning",
	} {
		_, warnings, err := Parse("x", []byte("config radio 'radio0'\n"+text))
		got := ""
		if err != nil {
			got = err.Error()
		} else if len(warnings) > 0 {
			got = "warning"
		}
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestServicePlatformOptions(t *testing.T) {
	text := "config service 'service'\n\toption manage_wireless '1'\n\toption manage_dns '0'\n\toption led 'green:status'\n"
	if _, warnings, err := Parse("x", []byte(text)); err != nil || len(warnings) > 0 {
		t.Error(err, warnings)
	}
	if _, _, err := Parse("x", []byte("config service 'service'\n\toption led '../x'\n")); err == nil {
		t.Error("a light outside of its folder passed")
	}
}
