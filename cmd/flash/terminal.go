package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"globalnet/openwrt/flash"
)

// terminal is the person: questions one at a time, and progress on one line.
type terminal struct {
	stderr     io.Writer
	stdin      *os.File
	isTerminal bool
	quiet      bool
	several    bool
	password   string // given by a file

	mu   sync.Mutex
	line bool // an unfinished line is shown
}

func newTerminal() *terminal {
	return &terminal{
		stderr: os.Stderr, stdin: os.Stdin,
		isTerminal: term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd())),
	}
}

var errNobody = errors.New("there is no terminal to ask on")

func (t *terminal) secret(question string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.isTerminal {
		return "", errNobody
	}
	t.finish()
	fmt.Fprint(t.stderr, question)
	text, err := term.ReadPassword(int(t.stdin.Fd()))
	fmt.Fprintln(t.stderr)
	return string(text), err
}

func (t *terminal) yes(question string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.isTerminal {
		return false
	}
	t.finish()
	fmt.Fprint(t.stderr, question)
	answer, err := bufio.NewReader(t.stdin).ReadString('\n')
	return err == nil && strings.EqualFold(strings.TrimSpace(answer), "yes")
}

func (t *terminal) finish() {
	if t.line {
		fmt.Fprintln(t.stderr)
		t.line = false
	}
}

func (t *terminal) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.finish()
}

// progress shows an event: on a terminal the bytes run on one line, elsewhere each
// step is one.
func (t *terminal) progress(e flash.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.quiet {
		return
	}
	router := ""
	if t.several {
		router = e.Router + " "
	}
	if e.Note != "" {
		t.finish()
		fmt.Fprintf(t.stderr, "%s        %s\n", router, e.Note)
		return
	}
	text := fmt.Sprintf("%s[%*d/%d] %s", router, len(fmt.Sprint(e.Of)), e.N, e.Of, e.Step)
	if e.Total > 0 {
		if !t.isTerminal || t.several {
			return
		}
		text += fmt.Sprintf(" %.1f of %.1f MB", float64(e.Done)/1e6, float64(e.Total)/1e6)
		if e.Left >= time.Second {
			text += fmt.Sprintf(", %s left", e.Left.Round(time.Second))
		}
		fmt.Fprintf(t.stderr, "\r\x1b[K%s", text)
		t.line = true
		return
	}
	t.finish()
	fmt.Fprintln(t.stderr, text)
}
