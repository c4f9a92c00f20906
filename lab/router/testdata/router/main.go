// Command router stands in for OpenWrt's uci, opkg, apk and ubus in tests, and for the
// agent's commands that write their files: under
// these names it does to the files what their contracts say, and writes each call
// to /tmp/calls.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"globalnet/openwrt"
	"globalnet/openwrt/archive"
	"globalnet/openwrt/uci"
)

func main() {
	name, args := filepath.Base(os.Args[0]), os.Args[1:]
	if f, err := os.OpenFile("/tmp/calls", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
		fmt.Fprintln(f, name, strings.Join(args, " "))
		f.Close()
	}
	commands := map[string]func([]string) error{"uci": runUCI, "opkg": runOpkg, "apk": runAPK, "ubus": runUbus, "gn-setup": runSetup}
	if err := commands[name](args); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

func runUbus([]string) error {
	board, err := os.ReadFile("/etc/board_name")
	rootfs, _ := os.ReadFile("/etc/rootfs_type")
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"board_name": strings.TrimSpace(string(board)), "model": "A model", "rootfs_type": strings.TrimSpace(string(rootfs)),
	})
}

func runUCI(args []string) error {
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		args = args[1:]
	}
	if len(args) == 0 {
		return errors.New("no command")
	}
	switch args[0] {
	case "commit":
		return nil
	case "batch":
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			command, rest, _ := strings.Cut(strings.TrimSpace(in.Text()), " ")
			if command == "" || command == "commit" {
				continue
			}
			if err := one(command, strings.ReplaceAll(rest, "'", "")); err != nil {
				return fmt.Errorf("%s: %w", in.Text(), err)
			}
		}
		return nil
	}
	if len(args) < 2 {
		return errors.New("no argument")
	}
	return one(args[0], args[1])
}

func one(command, arg string) error {
	target, value, assigned := strings.Cut(arg, "=")
	at := strings.Split(target, ".")
	f, err := uci.Open("/etc/config/" + at[0])
	if err != nil {
		return err
	}
	switch {
	case command == "show":
		for _, s := range f.Sections() {
			fmt.Printf("%s.%s=%s\n", at[0], s.Ref, s.Type)
			for _, o := range f.Options(s.Ref) {
				fmt.Printf("%s.%s.%s='%s'\n", at[0], s.Ref, o, strings.Join(f.List(s.Ref, o), "' '"))
			}
		}
		return nil
	case command == "get" && len(at) == 2:
		typ, ok := f.Type(at[1])
		if !ok {
			return uci.ErrNoSection
		}
		fmt.Println(typ)
		return nil
	case command == "get" && len(at) == 3:
		values := f.List(at[1], at[2])
		if values == nil {
			return errors.New("entry not found")
		}
		fmt.Println(strings.Join(values, " "))
		return nil
	case command == "set" && assigned && len(at) == 2:
		err = f.AddSection(value, at[1])
	case command == "set" && len(at) == 3 && value == "":
		f.Delete(at[1], at[2])
	case command == "set" && len(at) == 3:
		err = f.Set(at[1], at[2], value)
	case command == "add_list":
		err = f.AddList(at[1], at[2], value)
	case command == "del_list":
		f.RemoveList(at[1], at[2], value)
	case command == "delete" && len(at) == 2:
		f.DeleteSection(at[1])
	default:
		err = fmt.Errorf("%s %s: not understood", command, arg)
	}
	if err == nil {
		_, err = f.Save()
	}
	return err
}

// unpack writes the files of a package. A configuration that was edited stays, and
// the new one lands beside it.
func unpack(a *archive.Archive, beside string) error {
	for _, f := range a.Files {
		to := f.Path
		if strings.HasPrefix(to, "/etc/config/") {
			if _, err := os.Stat(to); err == nil {
				to += beside
			}
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		os.Remove(to + ".part")
		var err error
		if f.Link != "" {
			err = os.Symlink(f.Link, to+".part")
		} else {
			err = os.WriteFile(to+".part", f.Content, os.FileMode(f.Mode))
		}
		if err == nil {
			err = os.Rename(to+".part", to)
		}
		if err != nil {
			os.Remove(to + ".part")
			return err
		}
	}
	return nil
}

func script(path string, env []string, args ...string) error {
	cmd := exec.Command("/bin/sh", append([]string{path}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

func open(file string) (*archive.Archive, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return archive.Read(bytes.NewReader(text), nil)
}

const (
	status    = "/usr/lib/opkg/status"
	info      = "/usr/lib/opkg/info/"
	db        = "/lib/apk/db/installed"
	world     = "/etc/apk/world"
	lineP     = "P:globalnet\n"
	paragraph = "Package: globalnet\n"
)

// without removes the paragraph that begins with head.
func without(file, head string) (rest string, found bool, err error) {
	text, err := os.ReadFile(file)
	for part := range strings.SplitSeq(string(text), "\n\n") {
		switch {
		case strings.HasPrefix(part+"\n", head):
			found = true
		case strings.TrimSpace(part) != "":
			rest += part + "\n\n"
		}
	}
	return rest, found, err
}

func runOpkg(args []string) error {
	switch {
	case args[0] == "print-architecture":
		arch, err := os.ReadFile("/etc/arch")
		fmt.Printf("arch all 1\narch noarch 1\narch %s 10\n", strings.TrimSpace(string(arch)))
		return err
	case args[0] == "remove":
		return opkgRemove()
	case args[0] != "install":
		return fmt.Errorf("%v: not understood", args)
	}
	a, err := open(args[len(args)-1])
	if err != nil {
		return err
	}
	rest, upgrade, err := without(status, paragraph)
	if err != nil {
		return err
	}
	var env []string
	if upgrade {
		env = []string{"PKG_UPGRADE=1"}
		if err := script(info+"globalnet.prerm", env, "upgrade", a.Version); err != nil {
			return err
		}
	}
	if err := unpack(a, "-opkg"); err != nil {
		return err
	}
	for name, text := range a.Scripts {
		if err := os.WriteFile(info+"globalnet."+name, []byte(text), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(info+"globalnet.list", []byte(strings.Join(a.Paths(), "\n")+"\n"), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(status, []byte(rest+paragraph+"Version: "+a.Version+"\n\n"), 0o644); err != nil {
		return err
	}
	return script(info+"globalnet.postinst", env, "configure")
}

func opkgRemove() error {
	rest, found, err := without(status, paragraph)
	if err != nil || !found {
		return errors.New("no packages removed")
	}
	if err := script(info+"globalnet.prerm", nil, "remove"); err != nil {
		return err
	}
	if err := removeFiles(info + "globalnet.list"); err != nil {
		return err
	}
	names, _ := filepath.Glob(info + "globalnet.*")
	for _, n := range names {
		os.Remove(n)
	}
	return os.WriteFile(status, []byte(rest), 0o644)
}

// removeFiles removes what a list names, and folders that are empty then.
func removeFiles(list string) error {
	text, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(text)) {
		if strings.HasPrefix(name, "/etc/config/") {
			continue // taken for edited
		}
		os.Remove(name)
		for dir := filepath.Dir(name); dir != "/" && os.Remove(dir) == nil; dir = filepath.Dir(dir) {
		}
	}
	return nil
}

func runAPK(args []string) error {
	if args[0] == "del" {
		return apkDel()
	}
	file := args[len(args)-1]
	if args[0] != "add" || !slices.Contains(args, "--no-network") || !strings.Contains(file, "/") {
		return fmt.Errorf("%v: it would ask the network, and stall", args)
	}
	keys, _ := filepath.Glob("/etc/apk/keys/*.pem")
	if !slices.Contains(args, "--allow-untrusted") && len(keys) == 0 {
		return errors.New("UNTRUSTED signature")
	}
	a, err := open(file)
	if err != nil {
		return err
	}
	rest, upgrade, err := without(db, lineP)
	if err != nil {
		return err
	}
	if err := unpack(a, ".apk-new"); err != nil {
		return err
	}
	if err := os.WriteFile(db, []byte(rest+lineP+"V:"+a.Version+"\n\n"), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile("/lib/apk/db/globalnet.del", []byte(a.Scripts["pre-deinstall"]), 0o755); err != nil {
		return err
	}
	old, err := os.ReadFile(world)
	if err != nil {
		return err
	}
	if !upgrade {
		if err := os.WriteFile(world, append(old, "globalnet\n"...), 0o644); err != nil {
			return err
		}
	}
	name := "post-install"
	if upgrade {
		name = "post-upgrade"
	}
	if err := os.WriteFile("/tmp/script", []byte(a.Scripts[name]), 0o755); err != nil {
		return err
	}
	defer os.Remove("/tmp/script")
	return script("/tmp/script", nil)
}

func apkDel() error {
	rest, found, err := without(db, lineP)
	if err != nil || !found {
		return errors.New("no such package")
	}
	if err := script("/lib/apk/db/globalnet.del", nil); err != nil {
		return err
	}
	list := "/lib/apk/packages/globalnet.list"
	if err := removeFiles(list); err != nil {
		return err
	}
	names, _ := filepath.Glob("/lib/apk/packages/globalnet.*")
	for _, n := range append(names, "/lib/apk/db/globalnet.del") {
		os.Remove(n)
	}
	os.Remove("/lib/apk/packages")
	text, err := os.ReadFile(world)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := os.WriteFile(world, []byte(strings.ReplaceAll(string(text), "globalnet\n", "")), 0o644); err != nil {
		return err
	}
	return os.WriteFile(db, []byte(rest), 0o644)
}

// runSetup is `globalnet setup`, `radio setup` and what `cleanup --uci` does to files.
func runSetup(args []string) error {
	system := openwrt.OpenFiles("/")
	if args[0] == "cleanup" {
		p, err := system.Cleanup()
		if err != nil {
			return err
		}
		return errors.Join(system.Apply(context.Background(), p), system.Keep())
	}
	var gives []openwrt.Give
	for i, a := range args {
		switch {
		case strings.HasPrefix(a, "radio") && i > 1:
			gives = append(gives, openwrt.Give{Radio: a})
		case a == "--channel":
			gives[len(gives)-1].Channel, _ = strconv.Atoi(args[i+1])
		}
	}
	if !slices.Contains(args, "--no-reload") {
		return errors.New("it would cut the connection")
	}
	p, err := system.Setup(gives...)
	if err != nil {
		return err
	}
	if err := errors.Join(system.Apply(context.Background(), p), system.Keep()); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(p)
}
