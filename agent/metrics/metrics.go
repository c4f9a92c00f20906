// Package metrics writes numbers in the text format of Prometheus, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/).
//
// It holds no state: who has numbers makes a Text, fills it, and sends its bytes.
package metrics

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ContentType is what the text is served as.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Kind says how a reader may use a number.
type Kind string

// The kinds that are used here. A counter only grows, until a restart.
const (
	Counter Kind = "counter"
	Gauge   Kind = "gauge"
)

// Text is a page of metrics that is being written.
type Text struct {
	b    []byte
	name string
}

// Family begins the metric of a name: samples that follow belong to it. A name is
// written once in a page; a counter's ends in _total.
func (t *Text) Family(name string, kind Kind, help string) {
	t.name = name
	t.b = append(t.b, "# HELP "...)
	t.b = append(append(t.b, name...), ' ')
	t.b = appendEscaped(t.b, help, false)
	t.b = append(t.b, "\n# TYPE "...)
	t.b = append(append(t.b, name...), ' ')
	t.b = append(append(t.b, kind...), '\n')
}

// Sample adds a number of the current family. Labels are names and values in turn; a
// name must be of letters, digits and _, a value may hold anything.
func (t *Text) Sample(value float64, labels ...string) {
	t.b = append(t.b, t.name...)
	for i := 0; i+1 < len(labels); i += 2 {
		open := byte(',')
		if i == 0 {
			open = '{'
		}
		t.b = append(t.b, open)
		t.b = append(append(t.b, labels[i]...), `="`...)
		t.b = append(appendEscaped(t.b, labels[i+1], true), '"')
	}
	if len(labels) > 1 {
		t.b = append(t.b, '}')
	}
	t.b = append(t.b, ' ')
	t.b = appendValue(t.b, value)
	t.b = append(t.b, '\n')
}

// One is a family of one number without labels.
func (t *Text) One(name string, kind Kind, help string, value float64) {
	t.Family(name, kind, help)
	t.Sample(value)
}

// Bytes is the page as far as it is written.
func (t *Text) Bytes() []byte { return t.b }

// Flag is 1 for true.
func Flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

func appendValue(b []byte, v float64) []byte {
	switch {
	case math.IsNaN(v):
		return append(b, "NaN"...)
	case math.IsInf(v, 1):
		return append(b, "+Inf"...)
	case math.IsInf(v, -1):
		return append(b, "-Inf"...)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}

// appendEscaped writes what may hold a line feed, a backslash or, in a label's value, a
// quote. What is no UTF-8 is replaced: readers refuse the whole page otherwise.
func appendEscaped(b []byte, s string, quoted bool) []byte {
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case r == '\\':
			b = append(b, `\\`...)
		case r == '\n':
			b = append(b, `\n`...)
		case r == '"' && quoted:
			b = append(b, `\"`...)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}
