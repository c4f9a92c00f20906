package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
)

// commands is the table of commands, in the order of `globalnet help`. It is a
// function because help is in the table and reads it.
func commands() []command {
	list := []command{
		{
			name: "run", flags: "config identity connect", run: runAgent,
			summary: "Run the agent until SIGTERM or SIGINT; SIGHUP reloads the configuration.",
			detail:  "Without a configuration file it runs with the defaults. Log lines go to stderr;\nwith GLOBALNET_LOG=procd without time, and those of no concern to stdout.\nIt needs CAP_NET_ADMIN: root, or a network namespace of its own.",
			example: "globalnet run\nglobalnet run --config ./globalnet.uci\nglobalnet run --listen 9000 --connect \"hvabpq7iioevvevxbktu2g36xsojqlgpf3cjndgazvk7ckxumyge7yyb@node.example.org:9000, bob@192.0.2.7\"",
		},
		{
			name: "status", flags: "json config socket", run: showStatus,
			summary: "Is it working? A verdict, the neighbours, and the next step.",
			example: "globalnet status\nglobalnet status --json --socket /var/run/globalnet/globalnet.sock",
		},
		{
			name: "neighbours", flags: "json config socket", run: showNeighbours,
			summary: "List the nodes one hop away and the links to them.",
			example: "globalnet neighbours\nglobalnet neighbours --json",
		},
		{
			name: "routes", flags: "json config socket", run: showRoutes,
			summary: "List the routes; * marks those in use.",
			example: "globalnet routes\nglobalnet routes --json",
		},
		{
			name: "peers", flags: "json config socket", run: showPeers,
			summary: "List the links over the internet and through the mesh, and how many nodes are known.",
			example: "globalnet peers\nglobalnet peers --json",
		},
		{
			name: "counters", flags: "json config socket", run: showCounters,
			summary: "Show what was done and what was refused, in numbers.",
			example: "globalnet counters\nglobalnet counters --json",
		},
		{
			name: "onion", flags: "json config socket", run: showOnion,
			summary: "Show this node's part in the onion: relays, circuits, proxies.",
			example: "globalnet onion\nglobalnet onion --json",
		},
		{
			name: "relays", flags: "json config socket", run: showRelays,
			summary: "List the relays that this node knows, and what it measured of them.",
			example: "globalnet relays\nglobalnet relays --json",
		},
		{
			name: "circuits", flags: "json config socket", run: showCircuits,
			summary: "List this node's circuits: path, age, streams, bytes, round trip.",
			example: "globalnet circuits\nglobalnet circuits --json",
		},
		{
			name: "circuits close", args: "ID", least: 1, most: 1, flags: "json config socket", run: closeCircuit,
			summary: "Close a circuit and its streams.",
			example: "globalnet circuits close 7",
		},
		{
			name: "newnym", flags: "json config socket", run: newIdentity,
			summary: "Have new connections take new circuits.",
			detail:  "What is opened from then on cannot be connected with what was by the circuit it takes.\nConnections that are open stay as they are.",
			example: "globalnet newnym",
		},
		{
			name: "tunnel", args: "PATH", least: 1, most: 1, flags: "json config socket", run: tunnel,
			summary: "Lead a local port along a path written by hand, until Ctrl-C.",
			detail:  "PATH is LISTENER>HOP>…>TARGET. The listener is a port or host:port. A hop is a NodeID, a\nname from the configuration, or rand. The target is host:port, NODEID:port, or internet: then\nthe listener is a SOCKS and HTTP proxy. Each connection has a circuit of its own; one that\ndoes not come about is explained here.",
			example: "globalnet tunnel \"localhost:1000>rand>rand>example.org:80\"\nglobalnet tunnel \"2222>rand>rand>hvabpq7iioevvevxbktu2g36xsojqlgpf3cjndgazvk7ckxumyge7yyb:22\"",
		},
		{
			name: "proxy", args: "PATH", least: 1, most: 1, flags: "json config socket", run: tunnel,
			summary: "Open a proxy whose connections take a path written by hand, until Ctrl-C.",
			detail:  "The same as tunnel, with internet as the target. A proxy section of the configuration\nis there all the time.",
			example: "globalnet proxy \"8080>rand>rand>rand>internet\"",
		},
		{
			name: "lan status", flags: "json config socket", run: lanStatus,
			summary: "Show what LAN clients use: networks, modes, clients, streams, refused packets.",
			example: "globalnet lan status\nglobalnet lan status --json",
		},
		{
			name: "lan guard", flags: "json config", run: lanGuard,
			summary: "Put the rules of the LAN in place without an agent, before the network is up.",
			detail:  "In mode all nothing of the clients leaves the router until the agent runs. The init script does\nthis at boot.",
			example: "globalnet lan guard",
		},
		{
			name: "lan off", flags: "json config socket", run: lanOff,
			summary: "Remove the rules of the LAN: clients' traffic leaves the router as it is.",
			detail:  "This is the way out of mode all. It works without an agent too. The next reload or start\nbrings the rules back, unless the configuration says mode off.",
			example: "globalnet lan off",
		},
		{
			name: "dht status", flags: "json config socket", run: dhtStatus,
			summary: "Show this node's part of the distributed hash table.",
			example: "globalnet dht status\nglobalnet dht status --json",
		},
		{
			name: "dht get", args: "NODEID [NAME]", least: 1, most: 2, flags: "slow json path raw onion config socket", run: dhtGet,
			summary: "Read what a node has published under a name; without a name, its node record.",
			detail:  "The newest version that was found is verified and printed. The exit code is 1 if there is none.",
			example: "globalnet dht get hvabpq7iioevvevxbktu2g36xsojqlgpf3cjndgazvk7ckxumyge7yyb\nglobalnet dht get hvabpq7iioevvevxbktu2g36xsojqlgpf3cjndgazvk7ckxumyge7yyb greeting --path\nglobalnet dht get hvabpq7iioevvevxbktu2g36xsojqlgpf3cjndgazvk7ckxumyge7yyb greeting --onion",
		},
		{
			name: "dht put", args: "NAME VALUE|-", least: 2, most: 2, flags: "slow json path config socket", run: dhtPut,
			summary: "Publish a value of this node under a name.",
			detail:  "It is signed by this node's key, and readable for who knows NodeID and name. It stays\npublished, after restarts of the agent too, until it is withdrawn; other nodes keep it for an\nhour when this one is away. - reads the value from stdin. A new value replaces the old one.",
			example: "globalnet dht put greeting hello\ndate | globalnet dht put greeting -\nglobalnet dht put address \"$(ip -6 -br address show br-lan)\"",
		},
		{
			name: "dht withdraw", args: "NAME", least: 1, most: 1, flags: "slow json path config socket", run: dhtWithdraw,
			summary: "Take back what was published under a name.",
			detail:  "The nodes that hold the value, and those that ask for it, are told that it is gone. Who read it\nbefore may have kept it.",
			example: "globalnet dht withdraw greeting",
		},
		{
			name: "dht list", flags: "json config socket", run: dhtList,
			summary: "List the names under which this node publishes.",
			example: "globalnet dht list\nglobalnet dht list --json",
		},
		{
			name: "dht lookup", args: "NODEID|KEY", least: 1, most: 1, flags: "slow json path config socket", run: dhtLookup,
			summary: "List the nodes closest to a node or a key of 64 hexadecimal digits.",
			example: "globalnet dht lookup hvabpq7iioevvevxbktu2g36xsojqlgpf3cjndgazvk7ckxumyge7yyb --path\nglobalnet dht lookup 4f0c1e2d3b4a5968778695a4b3c2d1e00f1e2d3c4b5a69788796a5b4c3d2e1f0 --json",
		},
		{
			name: "reload", flags: "slow json config socket", run: reload,
			summary: "Make the agent read its configuration again.",
			detail:  "Links that need not change stay up. What holds only after a restart is named.",
			example: "globalnet reload",
		},
		{
			name: "key show", flags: "json config identity", run: keyShow,
			summary: "Show the NodeID and the addresses of this node's key.",
			detail:  "The secret part of the key is never printed.",
			example: "globalnet key show\nglobalnet key show --identity ./identity.key --json",
		},
		{
			name: "key new", flags: "json config identity", run: keyNew,
			summary: "Make a new key where there is none.",
			detail:  "A key file that exists is never overwritten: move it away first.",
			example: "globalnet key new\nglobalnet key new --identity ./identity.key",
		},
		{
			name: "key address", args: "[NODEID]", most: 1, flags: "json config identity", run: keyAddress,
			summary: "Print the mesh address of a NodeID, or of this node.",
			example: "globalnet key address\nping $(globalnet key address)",
		},
		{
			name: "config check", args: "[FILE]", most: 1, flags: "json config", run: configCheck,
			summary: "Check a configuration file; say each line that is wrong or has no effect.",
			example: "globalnet config check\nglobalnet config check ./globalnet.uci",
		},
		{
			name: "config show", args: "[FILE]", most: 1, flags: "json config", run: configShow,
			summary: "Print the configuration with every default filled in, secrets hidden.",
			example: "globalnet config show\nglobalnet config show ./globalnet.uci --json",
		},
		{
			name: "cleanup", flags: "json config uci", run: cleanup,
			summary: "Remove the interfaces, routes and rules that an agent left that was killed.",
			detail:  "It refuses while an agent is running. Every start of the agent does the same.",
			example: "globalnet cleanup\nglobalnet cleanup --uci",
		},
		{
			name: "rpcd", args: "list|call METHOD", least: 1, most: 2, flags: "config socket", run: rpcd,
			summary: "Answer OpenWrt's rpcd, which answers LuCI.",
			detail:  "The arguments of METHOD come as JSON on stdin. /usr/libexec/rpcd/globalnet runs this; which\nmethods a user of the router's page may call is said in /usr/share/rpcd/acl.d.",
			example: "globalnet rpcd list\nglobalnet rpcd call status </dev/null",
		},
		{
			name: "board", flags: "json root", run: showBoard,
			summary: "Show what this device is, and what the agent decided from that, and why.",
			example: "globalnet board\nglobalnet board --json",
		},
		{
			name: "version", flags: "json", run: showVersion,
			summary: "Print the version and how the binary was built.",
			example: "globalnet version\nglobalnet version --json",
		},
		{
			name: "help", args: "[COMMAND]", most: 3, run: help,
			summary: "List the commands, or explain one.",
			example: "globalnet help\nglobalnet help config check",
		},
	}
	before := func(name string, more []command) {
		list = slices.Insert(list, slices.IndexFunc(list, func(c command) bool { return c.name == name }), more...)
	}
	before("neighbours", careCommands()[:2])
	before("version", careCommands()[2:])
	before("dht status", serviceCommands())
	before("cleanup", radioCommands())
	before("cleanup", webCommands())
	return list
}

func help(_ context.Context, in *invocation) error {
	if len(in.args) > 0 {
		c, rest, err := find(in.args)
		if err == nil && len(rest) > 0 {
			err = fmt.Errorf("no command %q; `globalnet help` lists them", strings.Join(in.args, " "))
		}
		if err != nil {
			return usageError{err}
		}
		c.usage(in.stdout)
		return nil
	}
	fmt.Fprintf(in.stdout, "GlobalNet: a network of routers that nobody owns.\n\nusage: globalnet COMMAND [flags]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(in.stdout, "  %-21s %s\n", c.name, c.summary)
	}
	fmt.Fprintf(in.stdout, "\n`globalnet COMMAND --help` explains one, with examples.\n%s\n", exitCodes)
	return nil
}

// version is set by the Makefile to what git describes.
var version = "unknown"

type versionInfo struct {
	Version string            `json:"version"`
	Go      string            `json:"go"`
	OS      string            `json:"os"`
	Arch    string            `json:"arch"`
	Modules map[string]string `json:"modules,omitempty"`
}

func showVersion(_ context.Context, in *invocation) error {
	v := versionInfo{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		v.Modules = make(map[string]string)
		for _, m := range info.Deps {
			v.Modules[m.Path] = m.Version
		}
	}
	if in.json {
		return in.printJSON(v)
	}
	_, err := fmt.Fprintf(in.stdout, "globalnet %s (%s, %s/%s)\n", v.Version, v.Go, v.OS, v.Arch)
	return err
}
