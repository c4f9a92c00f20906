package wycheproof

import (
	"reflect"
	"testing"
)

func TestParse(t *testing.T) {
	type group struct{ Size int }
	type vector struct{ Key Hex }
	list, err := parse[group, vector]([]byte(`{"testGroups": [
		{"size": 3, "tests": [{"tcId": 7, "comment": "c", "flags": ["A"], "result": "valid", "key": "0aff"}]},
		{"tests": [{"tcId": 8, "result": "invalid", "key": ""}]}]}`))
	want := []Case[group, vector]{
		{ID: 7, Comment: "c", Flags: []string{"A"}, Result: "valid", Group: group{3}, Vector: vector{Hex{10, 255}}},
		{ID: 8, Result: "invalid", Vector: vector{Hex{}}},
	}
	if err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("%+v, %v", list, err)
	}
	if !list[0].Has("A") || list[1].Has("A") {
		t.Error("flags are wrong")
	}
	for _, wrong := range []string{"", `{"testGroups": [1]}`, `{"testGroups": [{"tests": [{"key": "x"}]}]}`, `{"testGroups": [{"tests": 1}]}`, `{"testGroups": [{"tests": [{"tcId": "x"}]}]}`} {
		if _, err := parse[group, vector]([]byte(wrong)); err == nil {
			t.Errorf("%s is taken", wrong)
		}
	}
}
