package config

import (
	"bytes"
	"fmt"
	"strings"
)

// maxFile bounds what is read: a router's configuration has a few KiB.
const maxFile = 1 << 20

// File is the content of a UCI file: sections in their order.
type File struct {
	Sections []Section
}

// Section is `config type 'name'` and the options after it.
type Section struct {
	Type    string
	Name    string // empty for an anonymous section
	Line    int
	Options []Option
}

// Option is `option name 'value'`, or one `list name 'value'`.
type Option struct {
	Name  string
	Value string
	List  bool
	Line  int
}

// SyntaxError says where a file is not UCI.
type SyntaxError struct {
	Line    int
	Problem string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Problem) }

// ParseFile reads the UCI syntax as libuci does: one statement a line or between
// semicolons; words bare, in '…' (nothing is special inside) or in "…" (backslash
// takes the next character as it is), joined without a space; a backslash at the
// end of a line continues it; # outside quotes begins a comment; a quoted word
// may span lines. `package` lines are read and ignored.
func ParseFile(text []byte) (File, error) {
	if len(text) > maxFile {
		return File{}, &SyntaxError{Line: 1, Problem: fmt.Sprintf("file of %d bytes, at most %d are read", len(text), maxFile)}
	}
	var f File
	l := lexer{text: text, line: 1}
	for {
		words, more, err := l.statement()
		if err != nil {
			return File{}, err
		}
		if len(words) > 0 {
			if err := f.add(words); err != nil {
				return File{}, &SyntaxError{Line: words[0].line, Problem: err.Error()}
			}
		}
		if !more {
			return f, nil
		}
	}
}

func (f *File) add(words []word) error {
	keyword, args := words[0].text, words[1:]
	switch keyword {
	case "package", "p":
		if len(args) != 1 {
			return fmt.Errorf("package with %d words after it, want 1", len(args))
		}
	case "config", "c":
		return f.addSection(args, words[0].line)
	case "option", "o", "list", "l":
		if len(args) != 2 {
			return fmt.Errorf("%s with %d words after it, want a name and a value: quote a value that has spaces", keyword, len(args))
		}
		if len(f.Sections) == 0 {
			return fmt.Errorf("%s %s before the first config line", keyword, args[0].text)
		}
		if !isName(args[0].text) {
			return fmt.Errorf("option name %q: only letters, digits and _", args[0].text)
		}
		s := &f.Sections[len(f.Sections)-1]
		s.Options = append(s.Options, Option{
			Name: args[0].text, Value: args[1].text, List: keyword[0] == 'l', Line: words[0].line,
		})
	default:
		return fmt.Errorf("%q: want config, option or list", keyword)
	}
	return nil
}

func (f *File) addSection(args []word, line int) error {
	if len(args) < 1 || len(args) > 2 {
		return fmt.Errorf("config with %d words after it, want a type and perhaps a name", len(args))
	}
	s := Section{Type: args[0].text, Line: line}
	if !isType(s.Type) {
		return fmt.Errorf("section type %q: only printable characters without space", s.Type)
	}
	if len(args) == 2 {
		s.Name = args[1].text
		if s.Name != "" && !isName(s.Name) {
			return fmt.Errorf("section name %q: only letters, digits and _", s.Name)
		}
	}
	f.Sections = append(f.Sections, s)
	return nil
}

// AppendFile appends f as text that ParseFile reads as the same sections.
func AppendFile(dst []byte, f File) []byte {
	for i, s := range f.Sections {
		if i > 0 {
			dst = append(dst, '\n')
		}
		dst = append(dst, "config "...)
		dst = appendQuoted(dst, s.Type)
		if s.Name != "" {
			dst = append(dst, ' ')
			dst = appendQuoted(dst, s.Name)
		}
		dst = append(dst, '\n')
		for _, o := range s.Options {
			keyword := "option"
			if o.List {
				keyword = "list"
			}
			dst = fmt.Appendf(dst, "\t%s %s ", keyword, o.Name)
			dst = appendQuoted(dst, o.Value)
			dst = append(dst, '\n')
		}
	}
	return dst
}

// appendQuoted quotes as `uci export` does: ' becomes '\”.
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '\'')
	dst = append(dst, strings.ReplaceAll(s, "'", `'\''`)...)
	return append(dst, '\'')
}

func isName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return s != ""
}

func isType(s string) bool {
	for i := range len(s) {
		if s[i] < 33 || s[i] > 126 {
			return false
		}
	}
	return s != ""
}

type word struct {
	text string
	line int
}

type lexer struct {
	text []byte
	pos  int
	line int
}

// statement reads words to the end of a line or to a semicolon; more is false
// when the text has ended.
func (l *lexer) statement() (words []word, more bool, err error) {
	for l.pos < len(l.text) {
		switch c := l.text[l.pos]; {
		case c == '\n':
			l.pos++
			l.line++
			return words, true, nil
		case c == ';':
			l.pos++
			return words, true, nil
		case isSpace(c):
			l.pos++
		case c == '#':
			l.skipComment()
		case c == '\\' && l.continues():
		default:
			line := l.line
			text, err := l.word()
			if err != nil {
				return nil, false, err
			}
			words = append(words, word{text, line})
		}
	}
	return words, false, nil
}

func (l *lexer) skipComment() {
	if n := bytes.IndexByte(l.text[l.pos:], '\n'); n >= 0 {
		l.pos += n
	} else {
		l.pos = len(l.text)
	}
}

// continues steps over a backslash that ends its line.
func (l *lexer) continues() bool {
	rest := l.text[l.pos+1:]
	if len(rest) > 0 && rest[0] != '\n' {
		return false
	}
	l.pos += 1 + min(len(rest), 1)
	l.line += min(len(rest), 1)
	return true
}

// word reads pieces up to a space, comment or semicolon outside quotes.
func (l *lexer) word() (string, error) {
	var b []byte
	for l.pos < len(l.text) {
		c := l.text[l.pos]
		switch {
		case isSpace(c) || c == '\n' || c == ';' || c == '#':
			return string(b), nil
		case c == 0:
			return "", &SyntaxError{l.line, "zero byte: not a text file?"}
		case c == '\'' || c == '"':
			var err error
			if b, err = l.quoted(b, c); err != nil {
				return "", err
			}
		case c == '\\':
			if l.continues() {
				continue
			}
			l.pos++
			if l.text[l.pos] == 0 {
				continue
			}
			b = append(b, l.text[l.pos])
			l.pos++
		default:
			b = append(b, c)
			l.pos++
		}
	}
	return string(b), nil
}

func (l *lexer) quoted(b []byte, quote byte) ([]byte, error) {
	start := l.line
	for l.pos++; l.pos < len(l.text); {
		c := l.text[l.pos]
		switch {
		case c == quote:
			l.pos++
			return b, nil
		case c == 0:
			return nil, &SyntaxError{l.line, "zero byte: not a text file?"}
		case c == '\\' && quote == '"':
			if l.continues() {
				continue
			}
			l.pos++
			if l.text[l.pos] == 0 {
				continue
			}
			b = append(b, l.text[l.pos])
		case c == '\n':
			l.line++
			b = append(b, c)
		default:
			b = append(b, c)
		}
		l.pos++
	}
	return nil, &SyntaxError{start, fmt.Sprintf("quote %c is never closed", quote)}
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f'
}
