package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The manual and the completion are made of the table of commands, so that they say
// what this binary does.

// roff is text as man(7) takes it: no backslash, and no line that begins a request.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

func manual(_ context.Context, in *invocation) error {
	w := &strings.Builder{}
	fmt.Fprintf(w, ".TH GLOBALNET 8 \"\" \"GlobalNet %s\" \"\"\n", roff(version))
	fmt.Fprint(w, ".SH NAME\nglobalnet \\- a network of routers that nobody owns\n")
	fmt.Fprint(w, ".SH SYNOPSIS\n.B globalnet\n.I COMMAND\n[flags] [arguments]\n")
	fmt.Fprint(w, ".SH DESCRIPTION\n", roff("globalnet run is the agent of a node: it finds its neighbours on radios and cables, encrypts the links, routes between nodes, and carries anonymous traffic. The other commands ask the agent or change its configuration. gn is a short name for globalnet on routers."), "\n")
	fmt.Fprint(w, ".SH COMMANDS\n")
	for _, c := range commands() {
		fmt.Fprintf(w, ".TP\n.B %s\n", roff(c.synopsis()))
		fmt.Fprintln(w, roff(c.summary))
		if c.detail != "" {
			fmt.Fprintln(w, roff(strings.ReplaceAll(c.detail, "\n", " ")))
		}
		manualFlags(w, c)
		fmt.Fprintf(w, ".RS\n.nf\n%s\n.fi\n.RE\n", roff(c.example))
	}
	fmt.Fprint(w, ".SH EXIT STATUS\n", roff(strings.TrimPrefix(exitCodes, "Exit codes: ")), "\n")
	fmt.Fprint(w, ".SH ENVIRONMENT\n.TP\n.B GLOBALNET_CONFIG\nthe configuration file, where \\-\\-config gives none\n")
	fmt.Fprint(w, ".SH FILES\n")
	for _, f := range [][2]string{
		{"/etc/config/globalnet", "configuration; globalnet config show prints every option"},
		{"/etc/globalnet/identity.key", "the key of the node; keep a copy"},
		{"/etc/globalnet/*.state", "what the agent remembers"},
		{"/var/run/globalnet/globalnet.sock", "control socket"},
	} {
		fmt.Fprintf(w, ".TP\n.I %s\n%s\n", roff(f[0]), roff(f[1]))
	}
	_, err := io.WriteString(in.stdout, w.String())
	return err
}

func manualFlags(w io.Writer, c command) {
	new(invocation).flagSet(c).VisitAll(func(f *flag.Flag) {
		value, text := flag.UnquoteUsage(f)
		fmt.Fprintf(w, ".RS\n.TP\n.B %s\n%s\n.RE\n", roff(strings.TrimSpace("--"+f.Name+" "+value)), roff(text))
	})
}

func completion(_ context.Context, in *invocation) error {
	switch in.args[0] {
	case "bash":
		return completeBash(in.stdout, "")
	case "zsh":
		return completeBash(in.stdout, "autoload -U +X bashcompinit && bashcompinit\n")
	case "fish":
		return completeFish(in.stdout)
	}
	return usageError{fmt.Errorf("%q: want bash, zsh or fish", in.args[0])}
}

// steps are the words that may follow a beginning of a command, in the order of help.
func steps() (order []string, next map[string][]string) {
	next = map[string][]string{}
	for _, c := range commands() {
		words := strings.Fields(c.name)
		for i, word := range words {
			before := strings.Join(words[:i], " ")
			if _, known := next[before]; !known {
				order = append(order, before)
			}
			if !slices.Contains(next[before], word) {
				next[before] = append(next[before], word)
			}
		}
	}
	return order, next
}

func flagsOf(c command) []string {
	var list []string
	new(invocation).flagSet(c).VisitAll(func(f *flag.Flag) { list = append(list, "--"+f.Name) })
	return append(list, "--help")
}

func completeBash(w io.Writer, first string) error {
	order, next := steps()
	b := &strings.Builder{}
	b.WriteString("# completion of globalnet; `globalnet completion` makes it\n" + first)
	b.WriteString("_globalnet() {\n\tlocal current=${COMP_WORDS[COMP_CWORD]} line= words= word\n" +
		"\tfor word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n\t\tcase $word in -*) ;; *) line=\"${line:+$line }$word\" ;; esac\n\tdone\n" +
		"\tcase $current in\n\t-*)\n\t\tcase $line in\n")
	for i := len(commands()) - 1; i >= 0; i-- { // `dht get` before a command that begins with the same word
		c := commands()[i]
		fmt.Fprintf(b, "\t\t%q | %q*) words=%q ;;\n", c.name, c.name+" ", strings.Join(flagsOf(c), " "))
	}
	b.WriteString("\t\tesac ;;\n\t*)\n\t\tcase $line in\n")
	for _, before := range order {
		fmt.Fprintf(b, "\t\t%q) words=%q ;;\n", before, strings.Join(next[before], " "))
	}
	b.WriteString("\t\tesac\n\tesac\n\tCOMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n" +
		"\t[[ -n $words ]] || COMPREPLY=($(compgen -f -- \"$current\"))\n}\ncomplete -F _globalnet globalnet gn\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func completeFish(w io.Writer) error {
	b := &strings.Builder{}
	b.WriteString("# completion of globalnet; `globalnet completion` makes it\n")
	quote := func(s string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
	}
	for _, c := range commands() {
		words := strings.Fields(c.name)
		last := words[len(words)-1]
		when := "__fish_use_subcommand"
		if len(words) > 1 {
			when = "__fish_seen_subcommand_from " + strings.Join(words[:len(words)-1], " ")
		}
		fmt.Fprintf(b, "complete -c globalnet -f -n %s -a %s -d %s\n", quote(when), quote(last), quote(c.summary))
		new(invocation).flagSet(c).VisitAll(func(f *flag.Flag) {
			_, text := flag.UnquoteUsage(f)
			fmt.Fprintf(b, "complete -c globalnet -n %s -l %s -d %s\n", quote("__fish_seen_subcommand_from "+last), f.Name, quote(text))
		})
	}
	_, err := io.WriteString(w, b.String())
	return err
}
