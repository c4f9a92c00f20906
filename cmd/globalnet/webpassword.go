package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"globalnet/agent/web"
)

// webCommands are those of the web page.
func webCommands() []command {
	return []command{
		{
			name: "web password", flags: "json config passphrase", run: webPassword,
			summary: "Set the password of the router's web page.",
			detail: "It is asked for on the terminal, or is the first line of standard input or of a file; it is\nnever an argument. Who is logged in is logged out. " +
				"The page is http://router.gnet.alt/ for\nclients of a LAN, and where `list listen` of section web says.",
			example: "globalnet web password\nglobalnet web password < password.txt",
		},
	}
}

func webPassword(_ context.Context, in *invocation) error {
	c, err := in.config()
	if err != nil {
		return err
	}
	password, err := in.newPassword()
	if err != nil {
		return err
	}
	path := filepath.Join(c.StateDir, web.PasswordFile)
	if err := web.SetPassword(path, password); err != nil {
		return err
	}
	if in.json {
		return in.printJSON(struct {
			File string `json:"file"`
		}{path})
	}
	_, err = fmt.Fprintln(in.stdout, "the page has a new password; log in at http://"+web.Host+"/")
	return err
}

// newPassword reads standard input where it is no terminal.
func (in *invocation) newPassword() (string, error) {
	if in.service.passphraseFile != "" || isTerminal(in.stdin) {
		return in.passphrase(true)
	}
	line, err := bufio.NewReader(io.LimitReader(in.stdin, maxPassphrase)).ReadString('\n')
	if err != nil && (err != io.EOF || line == "") {
		return "", fmt.Errorf("reading the password from standard input: %w", err)
	}
	line = strings.TrimRight(line, "\r\n")
	return line, web.CheckPassword(line)
}
