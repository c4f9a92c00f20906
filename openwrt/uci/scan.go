package uci

import (
	"fmt"
	"strings"
)

// scanner cuts a text into nodes.
type scanner struct {
	text []byte
	pos  int
	line int
}

// word is a word of a statement and where it stood.
type word struct {
	text       string
	start, end int
}

// node reads to the end of a line or to a semicolon, both included.
func (s *scanner) node() (node, error) {
	start, line := s.pos, s.line
	var words []word
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		if c == '\n' || c == ';' {
			s.step()
			break
		}
		switch {
		case c == '#':
			for s.pos < len(s.text) && s.text[s.pos] != '\n' {
				s.step()
			}
		case isSpace(c) || s.continued():
			s.step()
		default:
			w, err := s.word()
			if err != nil {
				return node{}, err
			}
			words = append(words, w)
		}
	}
	n, err := statement(words)
	if err != nil {
		return node{}, &SyntaxError{line, err.Error()}
	}
	n.raw = s.text[start:s.pos:s.pos]
	n.start, n.end = n.start-start, n.end-start
	return n, nil
}

// step goes on by one byte.
func (s *scanner) step() {
	if s.text[s.pos] == '\n' {
		s.line++
	}
	s.pos++
}

// continued reports whether a backslash ends the line here, and steps onto the
// end of the line, which then is a mere space.
func (s *scanner) continued() bool {
	if s.text[s.pos] != '\\' {
		return false
	}
	switch {
	case s.pos+1 == len(s.text):
		return true
	case s.text[s.pos+1] == '\n':
		s.step()
		return true
	}
	return false
}

// statement makes a node of the words of a line.
func statement(words []word) (node, error) {
	if len(words) == 0 {
		return node{}, nil
	}
	args := words[1:]
	switch keyword := words[0].text; keyword {
	case "package", "p":
		if len(args) != 1 {
			return node{}, fmt.Errorf("package with %d words after it, want 1", len(args))
		}
		return node{}, nil
	case "config", "c":
		if len(args) < 1 || len(args) > 2 {
			return node{}, fmt.Errorf("config with %d words after it, want a type and perhaps a name", len(args))
		}
		n := node{kind: section, name: args[0].text}
		if len(args) == 2 {
			n.value, n.start, n.end = args[1].text, args[1].start, args[1].end
		}
		if !isType(n.name) || n.value != "" && !isName(n.value) {
			return node{}, fmt.Errorf("config %q %q: not a type and a name", n.name, n.value)
		}
		return n, nil
	case "option", "o", "list", "l":
		if len(args) != 2 {
			return node{}, fmt.Errorf("%s with %d words after it, want a name and a value", keyword, len(args))
		}
		if !isName(args[0].text) {
			return node{}, fmt.Errorf("%s %q: not a name", keyword, args[0].text)
		}
		n := node{kind: option, name: args[0].text, value: args[1].text, start: args[1].start, end: args[1].end}
		if keyword[0] == 'l' {
			n.kind = list
		}
		return n, nil
	default:
		return node{}, fmt.Errorf("%q: want config, option or list", keyword)
	}
}

// word reads bare and quoted pieces up to a space, comment or end of statement.
func (s *scanner) word() (word, error) {
	var b strings.Builder
	start := s.pos
	var quote byte
	opened := 0
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		if c == 0 {
			return word{}, &SyntaxError{s.line, "zero byte: not a text file?"}
		}
		if quote == 0 && (isSpace(c) || c == '\n' || c == ';' || c == '#') {
			break
		}
		switch {
		case quote == 0 && (c == '\'' || c == '"'):
			quote, opened = c, s.line
		case c == quote:
			quote = 0
		case c == '\\' && quote != '\'':
			if !s.continued() {
				s.step()
				if s.text[s.pos] == 0 {
					return word{}, &SyntaxError{s.line, "zero byte: not a text file?"}
				}
				b.WriteByte(s.text[s.pos])
			}
		default:
			b.WriteByte(c)
		}
		s.step()
	}
	if quote != 0 {
		return word{}, &SyntaxError{opened, fmt.Sprintf("quote %c is never closed", quote)}
	}
	return word{b.String(), start, s.pos}, nil
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f'
}
