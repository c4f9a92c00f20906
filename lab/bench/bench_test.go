package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func TestReport(t *testing.T) {
	boom := errors.New("boom")
	quick := func(r Result, err error) func(context.Context, Env) ([]Result, error) {
		return func(context.Context, Env) ([]Result, error) { return []Result{r}, err }
	}
	b := Bench{Name: "x", Parts: []Part{
		{"one", "", quick(Less("fast", 1, "s", 2), boom)},
		{"two", "", quick(More("wide", 1, "Mbit/s", 2), nil)},
		{"three", "", quick(Info("seen", 3, "B", "less"), nil)},
	}}
	e := Env{Progress: io.Discard}
	r, err := Measure(context.Background(), b, e)
	if !errors.Is(err, boom) || len(r.Results) != 3 || r.Machine == "" {
		t.Fatalf("%+v, %v", r, err)
	}
	e.Only = []string{"three"}
	if r, err := Measure(context.Background(), b, e); err != nil || len(r.Results) != 1 || r.Results[0].Metric != "seen" {
		t.Errorf("only three: %+v, %v", r, err)
	}
	e.Only = []string{"four"}
	if _, err := Measure(context.Background(), b, e); err == nil {
		t.Error("a part that is not there was measured")
	}
	text, err := json.Marshal(r.Results)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"metric":"fast","value":1,"unit":"s","target":2,"better":"less","met":true},` +
		`{"metric":"wide","value":1,"unit":"Mbit/s","target":2,"better":"more","met":false},` +
		`{"metric":"seen","value":3,"unit":"B","better":"less"}]`
	if string(text) != want {
		t.Errorf("%s\nwant\n%s", text, want)
	}
	var out bytes.Buffer
	r.Table(&out)
	for _, want := range []string{"target ≤ 2: met", "target ≥ 2: MISSED", "seen"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

func TestQuantile(t *testing.T) {
	d := []time.Duration{3 * time.Second, time.Second, 2 * time.Second, 4 * time.Second}
	for q, want := range map[float64]float64{0: 1, 0.5: 2.5, 1: 4} {
		if got := Quantile(d, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if Quantile(nil, 0.5) != 0 || Quantile(d[:1], 0.9) != 3 {
		t.Error("quantiles of none and one")
	}
}

func TestRegistry(t *testing.T) {
	if _, ok := Find("mesh"); !ok {
		t.Error("no benchmark mesh")
	}
	defer func() {
		if recover() == nil {
			t.Error("the same name was registered twice")
		}
	}()
	Register(Bench{Name: "mesh"})
}
