// Command uci stands in for OpenWrt's in tests of shell scripts: get, set,
// add_list, del_list, delete, show, commit and batch on the files below /etc/config. It saves
// at once, so commit has nothing to do.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"globalnet/openwrt/uci"
)

func main() {
	args := os.Args[1:]
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		args = args[1:]
	}
	if err := run(args, os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "uci:", err)
		os.Exit(1)
	}
}

func run(args []string, stdin io.Reader) error {
	if len(args) == 0 {
		return fmt.Errorf("no command")
	}
	switch {
	case args[0] == "commit":
		return nil
	case args[0] == "batch":
		for s := bufio.NewScanner(stdin); s.Scan(); {
			command, rest, _ := strings.Cut(strings.TrimSpace(s.Text()), " ")
			if command == "" {
				continue
			}
			if err := run([]string{command, strings.ReplaceAll(rest, "'", "")}, nil); err != nil {
				return err
			}
		}
		return nil
	case len(args) != 2:
		return fmt.Errorf("%v: not understood", args)
	}
	target, value, assigned := strings.Cut(args[1], "=")
	parts := strings.Split(target, ".")
	f, err := uci.Open(filepath.Join("/etc/config", parts[0]))
	if err != nil {
		return err
	}
	if err := edit(f, args[0], parts[1:], value, assigned); err != nil {
		return err
	}
	_, err = f.Save()
	return err
}

func edit(f *uci.Stored, command string, at []string, value string, assigned bool) error {
	switch {
	case command == "get" && len(at) == 1:
		typ, ok := f.Type(at[0])
		if !ok {
			return uci.ErrNoSection
		}
		fmt.Println(typ)
	case command == "get" && len(at) == 2:
		values := f.List(at[0], at[1])
		if values == nil {
			return fmt.Errorf("entry not found")
		}
		fmt.Println(strings.Join(values, " "))
	case command == "set" && assigned && len(at) == 1:
		return f.AddSection(value, at[0])
	case command == "set" && assigned && len(at) == 2:
		return f.Set(at[0], at[1], value)
	case command == "add_list" && assigned && len(at) == 2:
		return f.AddList(at[0], at[1], value)
	case command == "del_list" && assigned && len(at) == 2:
		f.RemoveList(at[0], at[1], value)
	case command == "delete" && len(at) == 1:
		f.DeleteSection(at[0])
	default:
		return fmt.Errorf("%s %v: not understood", command, at)
	}
	return nil
}
