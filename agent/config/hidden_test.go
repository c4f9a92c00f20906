package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const clientA = "client-ynmixtpdrkjc5remrswx5oudcze55rcaxzgb2o3cfibgmhjn6awsd47t"

func TestHiddenServices(t *testing.T) {
	c := parse(t, `config globalnet
	option state_dir /s
config hidden_service web
	list port '80 /srv/my site'; list port '443 localhost:8443'; list port '22 [::1]:22'; list port '1 unix:/run/x'; option listing 1
config hidden_service club
	list port '80 127.0.0.1:81'; option key k; option points 10; option restricted 1; list client `+clientA+`; option single_hop 1; option work 0
config hidden_service off
	list port '80 127.0.0.1:81'; option enabled 0
config service_key friend
	option service `+nodeA+`.gnet.alt
`)
	want := []Service{
		{Name: "web", Key: "/s/services/web.key", Listing: true, Points: 3, Work: true, Ports: []ServicePort{
			{Port: 80, Dir: "/srv/my site"}, {Port: 443, Network: "tcp", Address: "localhost:8443"},
			{Port: 22, Network: "tcp", Address: "[::1]:22"}, {Port: 1, Network: "unix", Address: "/run/x"}}},
		{Name: "club", Key: "/d/k", Points: 10, Restricted: true, SingleHop: true, Ports: []ServicePort{{Port: 80, Network: "tcp", Address: "127.0.0.1:81"}},
			Clients: c.Services[1].Clients},
	}
	if !reflect.DeepEqual(c.Services, want) || fmt.Sprint(c.Services[1].Clients) != "["+clientA+"]" {
		t.Errorf("got  %+v\nwant %+v", c.Services, want)
	}
	if len(c.ServiceKeys) != 1 || c.ServiceKeys[0].File != "/s/clients/friend.key" || c.ServiceKeys[0].Service.String() != nodeA {
		t.Errorf("keys %v", c.ServiceKeys)
	}
	again := parse(t, string(AppendFile(nil, c.File())))
	if d := Compare(c, again); !d.Empty() {
		t.Errorf("what is shown reads otherwise: %v\n%s", d, AppendFile(nil, c.File()))
	}
}

func TestWrongHiddenServices(t *testing.T) {
	service := "config globalnet\n\toption state_dir /s/t\nconfig hidden_service x\n"
	for _, tt := range []struct{ text, want string }{
		{"config hidden_service\nlist port '80 /a'", "f:1: a hidden_service needs a name"},
		{"config hidden_service x", "f:1: port: missing in this hidden_service"},
		{service + "option port '80 /a'", "f:4: port: \"80\": want port and target"},
		{service + "list port '80 www'", "want host:port, unix:PATH, or the path of a folder"},
		{service + "list port '0 /a'", `"0" is no port`},
		{service + "list port '80 a:0'", `"0" is no port`},
		{service + "list port '80 :80'", "want an IP address or a name"},
		{service + "list port '80 0.0.0.0:80'", "is the address of no single machine"},
		{service + "list port '80 unix:run'", "is no path"},
		{service + "list port '80 /a'\nlist port '80 /b'", "f:5: port: port 80 is there already"},
		{service + "list port '80 /s'", "f:3: port: the folder /s holds /s/t: keys are there"},
		{service + "list port '80 /s/t/services'", "holds /s/t/services"},
		{service + "list port '80 /'", "keys are there"},
		{service + "list port '80 /a'\noption points 2", "want a number from 3 to 10"},
		{service + "list port '80 /a'\nlist client " + nodeA, "f:5: client: "},
		{service + "list port '80 /a'\nlist client " + clientA + "\nlist client " + clientA, "f:6: client: this key is there already"},
		{service + "list port '80 /a'\nconfig hidden_service y\nlist port '80 /a'\noption key /s/t/services/x.key", "f:5: key: /s/t/services/x.key is the key of service x"},
		{service + "list port '80 /a'\nconfig hidden_service X\nlist port '80 /a'", "a second hidden_service 'X'"},
		{"config service_key\noption service " + nodeA, "f:1: a service_key needs a name"},
		{"config service_key x", "service: missing"},
		{"config service_key x\noption service " + nodeA + "\nconfig service_key y\noption service " + nodeA, "f:3: service: an earlier section"},
		{"config service web\nlist port '80 /a'", "f:1: section service 'web': there is one, 'service', for the init script; hidden services are sections of type hidden_service"},
	} {
		if _, _, err := Parse("f", []byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s\n got %v\nwant %s", tt.text, err, tt.want)
		}
	}
	_, warnings, err := Parse("f", []byte("config hidden_service x\nlist port '80 /a'\noption restricted 1"))
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Text, "lets nobody in") {
		t.Errorf("restricted without clients: %v, %v", warnings, err)
	}
}

func TestBoundsOfHiddenServices(t *testing.T) {
	var many strings.Builder
	for i := range maxServices + 1 {
		fmt.Fprintf(&many, "config hidden_service s%d\nlist port '80 /a'\n", i)
	}
	if _, _, err := Parse("f", []byte(many.String())); err == nil || !strings.Contains(err.Error(), "more than 32 sections of type hidden_service") {
		t.Errorf("too many services: %v", err)
	}
	many.Reset()
	many.WriteString("config hidden_service s\n")
	for i := range maxServicePorts + 1 {
		fmt.Fprintf(&many, "list port '%d /a'\n", i+1)
	}
	if _, _, err := Parse("f", []byte(many.String())); err == nil || !strings.Contains(err.Error(), "more than 64 ports") {
		t.Errorf("too many ports: %v", err)
	}
}

// All of a hidden service is live.
func TestHiddenServicesAreLive(t *testing.T) {
	const service = "config hidden_service x\nlist port '80 /a'\n"
	from := parse(t, service)
	for _, more := range []string{"list port '81 /a'", "option listing 1", "option key /k", "option points 4", "option restricted 1\nlist client " + clientA, "list client " + clientA,
		"option single_hop 1", "option work 0", "option enabled 0", "config hidden_service y\nlist port '80 /a'"} {
		to := parse(t, service+more)
		if d := Compare(from, to); !slices.Equal(d.Live, []string{"hidden_service"}) || len(d.Restart) > 0 {
			t.Errorf("%s: %v", more, d)
		}
		if d := Compare(WithLive(from, to), to); !d.Empty() {
			t.Errorf("%s: left after a reload: %v", more, d)
		}
	}
	to := parse(t, service+"config service_key k\noption service "+nodeA)
	if d := Compare(from, to); !slices.Equal(d.Live, []string{"service_key"}) || !Compare(WithLive(from, to), to).Empty() {
		t.Errorf("a key: %v", d)
	}
}

// What is read shows as text that reads the same.
func FuzzParseServicePort(f *testing.F) {
	for _, s := range []string{"80 127.0.0.1:8080", "80 /srv/my site", "22 [::1]:22", "1 unix:/run/x", "80  a:1", "80 ::1:80", "65535 /", "80 /a/../b", "80 unix:/", "1 / /"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParseServicePort(text)
		if err != nil {
			return
		}
		if again, err := ParseServicePort(p.String()); err != nil || again != p {
			t.Errorf("%q is %+v, which shows as %q and reads %+v, %v", text, p, p.String(), again, err)
		}
		if p.Port == 0 || (p.Dir == "") == (p.Address == "") {
			t.Errorf("%q is %+v", text, p)
		}
	})
}
