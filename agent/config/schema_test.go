package config

import (
	"slices"
	"strings"
	"testing"
)

// takes says whether a value of that option is right, whatever else the section lacks.
func takes(s SectionInfo, o OptionInfo, value string) bool {
	word := "option"
	if o.List {
		word = "list"
	}
	_, _, err := Parse("/c", []byte("config "+s.Type+" '"+s.Name+"'\n\t"+word+" "+o.Name+" '"+value+"'\n"))
	if err == nil {
		return true
	}
	for line := range strings.Lines(err.Error()) {
		if strings.HasPrefix(line, "/c:2: "+o.Name+": ") {
			return false
		}
	}
	return true
}

// The kinds that a form shows are those that reading takes.
func TestSchemaKinds(t *testing.T) {
	for _, s := range Schema() {
		if len(s.Options) == 0 || s.Help == "" {
			t.Errorf("section %s: %+v", s.Type, s)
		}
		for _, o := range s.Options {
			name := s.Type + "." + o.Name
			if o.Help == "" || o.Kind == "" || o.Default == nil || o.Example == nil || o.Choices == nil {
				t.Errorf("%s is not described: %+v", name, o)
			}
			takes := func(v string) bool { return takes(s, o, v) }
			if isBool := takes("disabled") && takes("1") && !takes("perhaps") && !takes("2"); isBool != (o.Kind == "bool") {
				t.Errorf("%s: kind %s, a bool: %v", name, o.Kind, isBool)
			}
			switch o.Kind {
			case "choice":
				for _, c := range o.Choices {
					if !takes(c) {
						t.Errorf("%s does not take %s", name, c)
					}
				}
				if takes("perhaps") {
					t.Errorf("%s takes anything", name)
				}
			case "number":
				if !slices.ContainsFunc([]string{"3", "30", "1"}, takes) || takes("perhaps") {
					t.Errorf("%s is no number", name)
				}
			}
		}
	}
}

func TestSchema(t *testing.T) {
	types := make(map[string]SectionInfo)
	for _, s := range Schema() {
		types[s.Type] = s
	}
	for _, name := range sectionTypes {
		if _, ok := types[name]; !ok {
			t.Errorf("section %s is not described", name)
		}
	}
	lan := types["lan"]
	mode, ok := lan.option("mode")
	if !ok || !lan.Many || mode.Kind != "choice" || !mode.Live || !slices.Equal(mode.Default, []string{"names"}) || !strings.HasPrefix(mode.Help, "names: names below gnet.alt") {
		t.Errorf("%+v", mode)
	}
	main := types["globalnet"]
	secret, ok := main.option("passphrase")
	if !ok || secret.Kind != "secret" || !secret.Secret || secret.Live || len(secret.Default) != 0 || main.Many || main.Name != "main" {
		t.Errorf("%+v", secret)
	}
	exit := types["exit"]
	for _, name := range []string{"rate", "burst", "quota"} {
		if o, ok := exit.option(name); !ok || o.Help == "" || !slices.Equal(o.Default, []string{"0"}) {
			t.Errorf("%s shares its words with others: %+v", name, o)
		}
	}
}
