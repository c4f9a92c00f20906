package main

import (
	"bufio"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
	"rsc.io/qr"
)

const (
	minPassphrase = 8
	maxPassphrase = 1024
)

// isTerminal reports whether w, or a reader, is one.
func isTerminal(w any) bool {
	if a, ok := w.(*answerWriter); ok {
		w = a.Writer
	}
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// passphrase reads --passphrase-file, or asks on the terminal; a new one twice. It is
// never an argument: others see those.
func (in *invocation) passphrase(isNew bool) (string, error) {
	p, err := in.readPassphrase(isNew)
	if err == nil && isNew && len(p) < minPassphrase {
		err = fmt.Errorf("passphrase of %d bytes: want %d or more", len(p), minPassphrase)
	}
	return p, err
}

func (in *invocation) readPassphrase(isNew bool) (string, error) {
	if name := in.service.passphraseFile; name != "" {
		return passphraseOf(name)
	}
	terminal := in.terminal()
	if terminal == nil {
		return "", usageError{errors.New("there is no terminal to ask for the passphrase on: give --passphrase-file FILE")}
	}
	defer terminal.Close()
	first, err := askPassphrase(terminal, "Passphrase: ")
	if err != nil || !isNew {
		return first, err
	}
	second, err := askPassphrase(terminal, "Once more: ")
	if err == nil && subtle.ConstantTimeCompare([]byte(first), []byte(second)) == 0 {
		err = errors.New("the two passphrases differ")
	}
	return first, err
}

// terminal is the one of this process, even where stdin is a file; nil: there is none.
func (in *invocation) terminal() *os.File {
	if f, ok := in.stdin.(*os.File); !ok || f != os.Stdin {
		return nil // somebody else's input
	}
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	return f
}

func askPassphrase(terminal *os.File, prompt string) (string, error) {
	io.WriteString(terminal, prompt)
	text, err := term.ReadPassword(int(terminal.Fd()))
	io.WriteString(terminal, "\n")
	if err != nil {
		return "", fmt.Errorf("reading the passphrase: %w", err)
	}
	return string(text), nil
}

func passphraseOf(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("reading the passphrase: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("others can read %s (mode %04o): chmod 600 it", name, info.Mode().Perm())
	}
	line, err := bufio.NewReader(io.LimitReader(f, maxPassphrase)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading the passphrase: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// quiet is the empty border that cameras need, in modules.
const quiet = 4

// qrCode draws text with characters of two modules, one above the other: black on
// white where colours can be said, else as on a dark terminal.
func qrCode(text string, colours bool) (string, error) {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return "", fmt.Errorf("drawing the QR code: %w", err)
	}
	begin, end := "", "\n"
	blocks := [2][2]string{{"█", "▀"}, {"▄", " "}} // by whether the upper and the lower one are black
	if colours {
		begin, end = "\x1b[30;107m", "\x1b[0m\n"
		blocks = [2][2]string{{" ", "▄"}, {"▀", "█"}}
	}
	bit := func(x, y int) int {
		if x < 0 || y < 0 || x >= code.Size || y >= code.Size || !code.Black(x, y) {
			return 0
		}
		return 1
	}
	var b strings.Builder
	for y := -quiet; y < code.Size+quiet; y += 2 {
		b.WriteString(begin)
		for x := -quiet; x < code.Size+quiet; x++ {
			b.WriteString(blocks[bit(x, y)][bit(x, y+1)])
		}
		b.WriteString(end)
	}
	return b.String(), nil
}
