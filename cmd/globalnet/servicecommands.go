package main

import (
	"flag"
)

// serviceFlags are the flags of the commands about hidden services.
type serviceFlags struct {
	to, dir    string
	port       uint
	listing    bool
	restricted bool
	singleHop  bool
	points     int

	qr, magnet     bool
	deleteKey      bool
	passphraseFile string
}

func (f *serviceFlags) define(fs *flag.FlagSet, c command) {
	if c.has("target") {
		fs.StringVar(&f.to, "to", "", "`HOST:PORT` that visitors reach, or unix:PATH")
		fs.StringVar(&f.dir, "dir", "", "`FOLDER` whose files visitors see")
		fs.UintVar(&f.port, "port", 0, "`PORT` of the service (default: that of --to; 80 for a folder)")
		fs.BoolVar(&f.listing, "listing", false, "list what is in folders that have no index.html")
		fs.BoolVar(&f.restricted, "restricted", false, "let only clients in whose keys are added")
		fs.BoolVar(&f.singleHop, "single-hop", false, "faster, and this node is not hidden")
		fs.IntVar(&f.points, "points", 0, "`N` introduction points, 3 to 10 (default 3)")
	}
	if c.has("picture") {
		fs.BoolVar(&f.qr, "qr", false, "draw the magnet link as a QR code")
		fs.BoolVar(&f.magnet, "magnet", false, "print a link with address and name")
	}
	if c.has("delete") {
		fs.BoolVar(&f.deleteKey, "delete-key", false, "delete the key too: the address is lost for ever")
	}
	if c.has("passphrase") {
		fs.StringVar(&f.passphraseFile, "passphrase-file", "", "`FILE` whose only line is the passphrase (default: ask on the terminal)")
	}
}

// serviceCommands are those of hidden services and of names.
func serviceCommands() []command {
	const address = "hvabpq7iioevvevxbktu2g36xsojqlgpf3cjndgazvk7ckxumyge7yyb.gnet.alt"
	const client = "client-ynmixtpdrkjc5remrswx5oudcze55rcaxzgb2o3cfibgmhjn6awsd47t"
	return []command{
		{
			name: "service add", args: "NAME", least: 1, most: 1, flags: "slow json config socket target", run: serviceAdd,
			summary: "Offer a port or a folder as a hidden service.",
			detail: "It is reached by an address that follows from its key, from every node, and nobody learns\nwhere it is. The key is made now, and is kept: the address stays. NAME is for you, others do\n" +
				"not see it. The same NAME again adds a port. It is written into the configuration file.",
			example: "globalnet service add web --to 127.0.0.1:8080 --port 80\nglobalnet service add photos --dir /srv/photos --listing\nglobalnet service add ssh --to 127.0.0.1:22 --restricted",
		},
		{
			name: "service list", flags: "json config socket", run: serviceList,
			summary: "List this node's hidden services: address, state, visitors.",
			example: "globalnet service list\nglobalnet service list --json",
		},
		{
			name: "service remove", args: "NAME", least: 1, most: 1, flags: "json config socket delete", run: serviceRemove,
			summary: "Stop offering a hidden service.",
			detail:  "Its key stays: the same name added again has the same address.",
			example: "globalnet service remove web\nglobalnet service remove web --delete-key",
		},
		{
			name: "service address", args: "NAME", least: 1, most: 1, flags: "json config picture", run: serviceAddress,
			summary: "Print the address of a hidden service of this node.",
			detail:  "With --magnet a link that carries NAME too, with --qr that link for cameras.",
			example: "globalnet service address web\nglobalnet service address web --qr\nglobalnet service address web --magnet",
		},
		{
			name: "service export", args: "NAME", least: 1, most: 1, flags: "json config passphrase", run: serviceExport,
			summary: "Print the key of a service, encrypted with a passphrase.",
			detail:  "For a backup, or to move the service to another router. Who has text and passphrase is the\nservice. It takes some seconds on a router.",
			example: "globalnet service export web > web.pem\nglobalnet service export web --passphrase-file ./passphrase > web.pem",
		},
		{
			name: "service import", args: "NAME FILE|-", least: 2, most: 2, flags: "json config socket passphrase", run: serviceImport,
			summary: "Take over a service's key that was exported.",
			detail:  "A key that is there is never overwritten. On several routers at once the same key is one\nservice of several machines.",
			example: "globalnet service import web web.pem\nssh router globalnet service export web | globalnet service import web - --passphrase-file ./passphrase",
		},
		{
			name: "service client new", args: "NAME ADDRESS", least: 2, most: 2, flags: "json config socket", run: clientNew,
			summary: "Make a key for somebody's restricted service, and show what its owner must be told.",
			detail:  "NAME is for you. Asked again, it shows the same key.",
			example: "globalnet service client new club " + address,
		},
		{
			name: "service client list", flags: "json config", run: clientList,
			summary: "List the clients of this node's services, and its own keys for others.",
			example: "globalnet service client list\nglobalnet service client list --json",
		},
		{
			name: "service client add", args: "NAME CLIENT", least: 2, most: 2, flags: "json config socket", run: clientAdd,
			summary: "Let a client into a hidden service of this node.",
			detail:  "If the service is restricted only such clients get in; else they are served first.",
			example: "globalnet service client add web " + client,
		},
		{
			name: "service client remove", args: "NAME [CLIENT]", least: 1, most: 2, flags: "json config socket", run: clientRemove,
			summary: "Shut a client out of a service; with NAME alone, no longer use a key of this node.",
			example: "globalnet service client remove web " + client + "\nglobalnet service client remove club",
		},
		{
			name: "name set", args: "NAME ADDRESS", least: 2, most: 2, flags: "json config socket", run: nameSet,
			summary: "Give a service or a node a name that holds on this router: NAME.gnet.alt.",
			detail:  "ADDRESS is 56 characters, with or without .gnet.alt, or a magnet link. A name that is there\nleads to the new address then.",
			example: "globalnet name set cheesy " + address,
		},
		{
			name: "name list", flags: "json config", run: nameList,
			summary: "List the names that hold on this router.",
			example: "globalnet name list\nglobalnet name list --json",
		},
		{
			name: "name remove", args: "NAME", least: 1, most: 1, flags: "json config socket", run: nameRemove,
			summary: "Take a name back.",
			example: "globalnet name remove cheesy",
		},
	}
}
