'use strict';
'require baseclass';

/* The options of /etc/config/globalnet, made from the agent's table of them by
 * `go test ./openwrt/luci -run TestOptions -update`. */
return baseclass.extend({ sections: {
globalnet: { help: "", options: {
	network: { help: "The name of the neighbourhood, 1 to 64 bytes. Routers link only with routers of the same name and passphrase.", usual: "globalnet" },
	passphrase: { help: "Makes the neighbourhood private: 8 to 256 bytes. Let none but root read the file that holds it. Without one, everybody may join.", example: "correct horse battery staple" },
	passphrase_file: { help: "Or a file whose only line is the passphrase; mode 0600.", example: "/etc/globalnet/passphrase" },
	interface: { help: "Interfaces to look for neighbours on: names, or patterns with * ? [a-z].", usual: ["*"], list: true, live: true },
	exclude: { help: "Interfaces to leave out although they match. Once an interface is named above, this list is empty by default. Never used are lo and gn-*.", usual: ["br-*","docker*","veth*","virbr*","vnet*","tun*","wg*","tailscale*","zt*","ygg*"], list: true, live: true },
	listen_port: { help: "Port of signalling (TCP) and of the STUN answers (UDP).", usual: "18245" },
	port_range: { help: "UDP ports of the links, one a neighbour. Open them in the firewall.", usual: "18250-18313" },
	state_dir: { help: "Files. A relative path starts in the folder of this file. Other users than root find them in ~/.local/state/globalnet.", usual: "/etc/globalnet" },
	identity: { help: "The node's key; made at the first start. Default: identity.key in state_dir.", usual: "/etc/globalnet/identity.key" },
	socket: { help: "The control socket. Default: globalnet.sock in state_dir, if that was given.", usual: "/var/run/globalnet/globalnet.sock" },
	log_level: { help: "debug, info, warn or error.", usual: "info", live: true },
	wireguard: { help: "Who encrypts the links: auto (the kernel where it can), kernel, user.", usual: "auto" },
	memory: { help: "Size of buffers: auto (small below 256 MiB of RAM), small, large.", usual: "auto" },
	dht: { help: "The distributed hash table: full holds records for others, client only asks and publishes (for nodes that sleep or have little memory), off.", usual: "full" },
	console_port: { help: "A console for netcat on this port of 127.0.0.1: it shows and changes nothing, but everybody with an account on the machine can ask it. 0: none.", usual: "0" },
	max_neighbours: { help: "Most neighbours at a time, 1 to 1000.", usual: "32", live: true },
	hello_interval: { help: "Seconds between two Babel hellos on an idle link, 0.1 to 600.", usual: "4", live: true },
	update_interval: { help: "Seconds between two full Babel updates; not shorter than hello_interval. It grows with the table.", usual: "16", live: true }
} },
peer: { help: "A node to reach over the internet; one section each.", options: {
	node: { help: "Its NodeID, as `globalnet key show` prints it there.", example: "hvabpq7iioevvevxbktu2g36xsojqlgpf3cjndgazvk7ckxumyge7yyb", live: true },
	address: { help: "Where it listens: IP address or name, and port (18245 where none is given).", example: ["node.example.org:18245","[2001:db8::1]:18245"], list: true, live: true },
	enabled: { help: "0 leaves the section without effect.", usual: "1", live: true }
} },
onion: { help: "The onion: anonymous circuits through other nodes.", options: {
	enabled: { help: "0 leaves the onion out: nothing is carried, no proxy is there.", usual: "1" },
	relay: { help: "Carry circuits of others inside the network. 0 makes the node invisible to them; it then only uses the onion.", usual: "1", live: true },
	hops: { help: "Relays of a circuit, 1 to 8.", usual: "3", live: true },
	min_hops: { help: "Where fewer relays are there, circuits are shorter, but not than this. With 3 nothing goes out until three relays are known.", usual: "1", live: true },
	family: { help: "A secret that all your relays share, 16 to 256 bytes: no path has two of them.", example: ["the nodes of our house"], list: true, live: true },
	rate: { help: "What is carried for others, 0 is without limit: Mbit/s in the long run, MB at once, GB a month.", usual: "0", live: true },
	burst: { help: "What is carried for others, 0 is without limit: Mbit/s in the long run, MB at once, GB a month.", usual: "0", live: true },
	quota: { help: "What is carried for others, 0 is without limit: Mbit/s in the long run, MB at once, GB a month.", usual: "0", live: true }
} },
exit: { help: "What circuits that end here may reach.", options: {
	policy: { help: "The internet: none, web (ports 80 and 443), reduced (common ports), all (all but mail to servers). Whatever it is, private addresses, this router and its LAN are out of reach.", usual: "none", live: true },
	rule: { help: "Rules before the policy; the first that fits holds.", example: ["accept *.example.org:443","reject 198.51.100.0/24:*"], list: true, live: true },
	allow_private: { help: "Private addresses that rules may open.", example: ["192.168.0.2/32"], list: true, live: true },
	inside: { help: "Connections to other nodes of the mesh.", usual: "1", live: true },
	serve_port: { help: "Ports of this node itself.", example: ["22"], list: true, live: true },
	secret: { help: "Only clients that know this secret, 16 to 256 bytes, may leave here.", example: "only for friends of ours", live: true },
	connections: { help: "Connections at a time, 1 to 65536. A router of little memory opens no more than 512 unless this is another number.", usual: "2048", live: true },
	rate: { help: "Traffic with the internet, 0 is without limit: Mbit/s in the long run, MB at once, GB a month.", usual: "0", live: true },
	burst: { help: "Traffic with the internet, 0 is without limit: Mbit/s in the long run, MB at once, GB a month.", usual: "0", live: true },
	quota: { help: "Traffic with the internet, 0 is without limit: Mbit/s in the long run, MB at once, GB a month.", usual: "0", live: true }
} },
proxy: { help: "A door for programs: SOCKS5, SOCKS4a and HTTP CONNECT. One section each; if there is none, this one.", options: {
	enabled: { help: "0 leaves the section without effect.", usual: "1", live: true },
	listen: { help: "Port, or address and port. Whoever reaches it can use it.", usual: "127.0.0.1:18248", live: true },
	path: { help: "Hops by hand, NodeID, name or rand, to internet. Each connection then has a circuit of its own. Without it, paths are chosen.", example: "rand>rand>rand>internet", live: true },
	isolate_destination: { help: "1 gives each destination circuits of its own.", usual: "0", live: true },
	wait: { help: "1 answers only when the target has answered: slower, with exact errors.", usual: "0", live: true }
} },
tunnel: { help: "A local port that leads along a path to one target. One section each.", options: {
	enabled: { help: "0 leaves the section without effect.", usual: "1", live: true },
	path: { help: "Listener, hops, target.", example: "localhost:1000>rand>rand>example.org:80", live: true }
} },
name: { help: "A name that holds on this router, for a node or a service. One section each.", options: {
	name: { help: "The name, if it is not the section's: that has no - in it.", example: "cheesy", live: true },
	node: { help: "The 56 characters, with or without .gnet.alt.", example: "hvabpq7iioevvevxbktu2g36xsojqlgpf3cjndgazvk7ckxumyge7yyb", live: true }
} },
exit_secret: { help: "What an exit wants to hear of those it trusts. One section each.", options: {
	node: { help: "Its NodeID.", example: "hvabpq7iioevvevxbktu2g36xsojqlgpf3cjndgazvk7ckxumyge7yyb", live: true },
	secret: { help: "Its secret.", example: "only for friends of ours", live: true }
} },
hidden_service: { help: "A hidden service: reached by the address that follows from its key, and nobody learns where it is. One section each; `globalnet service add` writes it.", options: {
	enabled: { help: "0 leaves the section without effect.", usual: "1", live: true },
	port: { help: "Port of the service, and what is behind it: host:port, unix:PATH, or the path of a folder, whose files are served.", example: ["80 /srv/www","443 127.0.0.1:8443","22 192.168.1.20:22"], list: true, live: true },
	listing: { help: "1 lists what is in folders that have no index.html.", usual: "0", live: true },
	key: { help: "The service's key; made when there is none. Who has it is the service. Default: services/NAME.key in state_dir.", example: "/etc/globalnet/services/web.key", live: true },
	points: { help: "Introduction points, 3 to 10. More make it harder to keep people out.", usual: "3", live: true },
	restricted: { help: "1 answers only the clients named below; others cannot tell that it runs.", usual: "0", live: true },
	client: { help: "Keys of clients, `globalnet service client new` there shows one. They are served first, and alone if the service is restricted.", example: ["client-ynmixtpdrkjc5remrswx5oudcze55rcaxzgb2o3cfibgmhjn6awsd47t"], list: true, live: true },
	single_hop: { help: "1 gives up the anonymity of this node for speed: the service has one hop instead of three. Its clients stay anonymous.", usual: "0", live: true },
	work: { help: "0 never asks clients for work, however many come.", usual: "1", live: true }
} },
service_key: { help: "The key by which somebody's restricted service lets this node in. One section each; `globalnet service client new` writes it.", options: {
	service: { help: "Its address, with or without .gnet.alt.", example: "hvabpq7iioevvevxbktu2g36xsojqlgpf3cjndgazvk7ckxumyge7yyb", live: true },
	file: { help: "The key. Default: clients/NAME.key in state_dir.", example: "/etc/globalnet/clients/club.key", live: true }
} },
lan: { help: "Clients of a LAN use the network with nothing installed. One section for each LAN with a mode of its own.", options: {
	enabled: { help: "0 leaves the section without effect.", usual: "1", live: true },
	mode: { help: "names: names below gnet.alt lead to services and nodes, the rest is as before. all: everything goes through circuits, what cannot is dropped, and that stays so when the agent ends. off: nothing.", usual: "names", live: true },
	interface: { help: "The interfaces of the LAN.", example: ["br-lan"], list: true, live: true },
	dns: { help: "1 in mode names: clients' DNS comes to the agent; names outside gnet.alt are looked up through exits. In mode all it always is so. With 0, the LAN's resolver must send gnet.alt to 127.0.0.1#18320.", usual: "0", live: true },
	udp: { help: "1 in mode all: UDP travels too, if exits take it. With 0 it is rejected, so that browsers fall back to TCP at once.", usual: "0", live: true },
	block_doh: { help: "1 denies the names of usual resolvers over HTTPS.", usual: "0", live: true },
	mesh: { help: "1 lets clients reach mesh addresses of other nodes through this router.", usual: "0", live: true },
	client_rate: { help: "The most one client may receive, and send, in Mbit/s; 0 is no limit.", usual: "0", live: true },
	client: { help: "A client with a mode of its own, off, names, all or block, by its MAC or IP address.", example: ["02:00:5e:00:53:01=all","192.168.1.20=off"], list: true, live: true }
} },
web: { help: "The page of the router for the people of its LAN: http://router.gnet.alt/ where a lan section is. `globalnet web password` sets the password of its owner.", options: {
	enabled: { help: "0 serves no page.", usual: "1", live: true },
	name: { help: "What the page calls this router, at most 64 bytes; else the name of the host.", example: "attic", live: true },
	listen: { help: "Addresses to serve it on as well: of loopback, or of an interface that a lan section names. Others are refused.", example: ["127.0.0.1:8080","192.168.1.1:8080"], list: true, live: true },
	public_status: { help: "0 shows nothing to who has not logged in; with 1 guests see the neighbours and how they are reached, but nobody's addresses or traffic.", usual: "1", live: true },
	metrics: { help: "1 serves numbers for Prometheus at /metrics to everybody on the LAN, without a password: links and what they carried, no clients, no destinations.", usual: "0", live: true }
} },
service: { help: "How the router runs the agent; the init script reads it. A change of numbers takes effect at `/etc/init.d/globalnet restart`.", options: {
	enabled: { help: "0 keeps the agent from starting.", usual: "1" },
	memlimit: { help: "Limit of the Go heap in MiB, and percentage of growth at which it is collected (GOMEMLIMIT, GOGC); 0 goes by the board: `globalnet board`.", usual: "0" },
	gc: { help: "Limit of the Go heap in MiB, and percentage of growth at which it is collected (GOMEMLIMIT, GOGC); 0 goes by the board: `globalnet board`.", usual: "0" },
	maxprocs: { help: "Most processors to use; 0 for all.", usual: "0" },
	jail: { help: "1 puts the agent into OpenWrt's jail, if that is installed (procd-ujail): it keeps three capabilities of root's, and sees its own files only, so that it cannot offer folders. Not yet run on routers.", usual: "0" },
	manage_firewall: { help: "0 leaves the firewall to its owner: no rules, no zone.", usual: "1" },
	manage_dns: { help: "0 leaves dnsmasq to its owner. Otherwise `globalnet setup` has it send gnet.alt to the agent while a lan section is there.", usual: "1" },
	manage_wireless: { help: "1 lets `globalnet setup` act on the radio sections below; 0 leaves the radios alone. `globalnet radio setup` sets it.", usual: "0" },
	led: { help: "A light below /sys/class/leds that shows the traffic of the first radio.", example: "green:mesh" }
} },
radio: { help: "A radio given to the mesh, by the name it has in /etc/config/wireless. One section each; `globalnet radio setup` writes it, and sets up the rest.", options: {
	enabled: { help: "0 takes the radio back.", example: "1" },
	mode: { help: "mesh (802.11s), adhoc (IBSS), or auto: what its driver does best.", example: "auto" },
	channel: { help: "The channel, the same on all routers in reach; 0 leaves the radio's, which must then be a fixed one.", example: "0" },
	mesh_id: { help: "Name of the mesh or of the cell on the air.", example: "globalnet" },
	changed: { help: "What `globalnet setup` changed in sections that are not its own, to be put back: not to be edited.", example: ["wireless.radio0.channel=auto:1"], list: true }
} }
} });
