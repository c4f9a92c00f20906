package config

import (
	"reflect"
	"testing"
)

func TestCompare(t *testing.T) {
	peer := func(address string) string {
		return "config peer\noption node " + nodeA + "\noption address " + address + "\n"
	}
	tests := []struct {
		name, from, to string
		live, restart  []string
		added, removed int
	}{
		{"same", "", main0, nil, nil, 0, 0},
		{"live", "", main0 + "option log_level debug; list interface eth0", []string{"interface", "exclude", "log_level"}, nil, 0, 0},
		{"restart", main0 + "option network a", main0 + "option network b; option listen_port 5", nil, []string{"network", "listen_port"}, 0, 0},
		{"passphrase", main0 + "option passphrase aaaaaaaa", main0 + "option passphrase bbbbbbbb", nil, []string{"passphrase"}, 0, 0},
		{"peer comes", "", peer("a"), []string{"peer"}, nil, 1, 0},
		{"peer goes", peer("a"), "", []string{"peer"}, nil, 0, 1},
		{"peer moves", peer("a"), peer("b"), []string{"peer"}, nil, 1, 1},
		{"peer stays", peer("a"), peer("a:18245"), nil, nil, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			from, to := parse(t, tt.from), parse(t, tt.to)
			d := Compare(from, to)
			if !reflect.DeepEqual(d.Live, tt.live) || !reflect.DeepEqual(d.Restart, tt.restart) ||
				len(d.Added) != tt.added || len(d.Removed) != tt.removed {
				t.Errorf("got %+v", d)
			}
			if d.Empty() != (d.String() == "no change") {
				t.Errorf("empty %v, but says %q", d.Empty(), d)
			}
		})
	}
}

// A live option must be taken over by WithLive, another one must not.
func TestWithLive(t *testing.T) {
	from := parse(t, "")
	to := parse(t, `config globalnet
	option network n; option passphrase 12345678; list interface x; list exclude y; option listen_port 1
	option port_range 2-9; option identity /i; option state_dir /s; option socket /c; option log_level error
	option wireguard user; option memory small; option dht client; option console_port 4748; option max_neighbours 3; option hello_interval 1.5
	option update_interval 20
config peer
	option node `+nodeA+`
	option address a`)
	all := Compare(from, to)
	if n := len(all.Live) + len(all.Restart); n != len(mainOptions(new(Config))) { // passphrase_file is not counted, peer is
		t.Fatalf("the test changes %d options of %d", n, len(mainOptions(new(Config))))
	}
	merged := WithLive(from, to)
	if d := Compare(from, merged); !reflect.DeepEqual(d.Live, all.Live) || d.Restart != nil {
		t.Errorf("taken over: %v; want live %v", d, all.Live)
	}
	if d := Compare(merged, to); d.Live != nil || !reflect.DeepEqual(d.Restart, all.Restart) {
		t.Errorf("left: %v; want restart %v", d, all.Restart)
	}
}
