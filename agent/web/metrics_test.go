package web

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// Numbers are for the owner, unless the owner opens them: Prometheus cannot log in.
func TestMetrics(t *testing.T) {
	p := newPage(t)
	ask := func() *recorder {
		r := httptest.NewRequest("GET", "http://"+Host+metricsPath, nil)
		return p.ask(r)
	}
	if got := ask(); got.code != 403 {
		t.Errorf("closed: %d %s", got.code, string(got.body))
	}
	p.open = true
	p.public.Store(false)
	got := ask()
	if got.code != 200 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") || !strings.Contains(string(got.body), "globalnet_uptime_seconds") {
		t.Errorf("open: %d %s", got.code, string(got.body))
	}
	if r := httptest.NewRequest("GET", "http://"+Host+"/v1/status", nil); p.ask(r).code != 403 {
		t.Error("open metrics open the status")
	}
	if r := httptest.NewRequest("GET", "http://rebound.example"+metricsPath, nil); p.ask(r).code != 421 {
		t.Error("another name reaches the metrics")
	}
}
