'use strict';
'require baseclass';
'require form';
'require uci';
'require globalnet.common as gn';
'require globalnet.options as options';

/*
 * Forms for the options of /etc/config/globalnet. What an option is for and what holds
 * without it comes from the reference of the configuration (globalnet.options); here is
 * how it is shown, and what can be told at once of a value. The agent judges the whole
 * before anything is saved.
 */

const encoder = new TextEncoder();

/* Kinds: each has a widget, and checks a value: true, or what is wanted. */

function value(check, more) {
	return Object.assign({ widget: form.Value, check: check || function() { return true; } }, more);
}

function matches(pattern, want, more) {
	return value(function(v) { return pattern.test(v) || want; }, more);
}

function text(least, most, more) {
	const want = _('%d to %d bytes, no control characters').format(least, most);

	return value(function(v) {
		const n = encoder.encode(v).length;

		return n >= least && n <= most && !/[\u0000-\u001f\u007f]/.test(v) || want;
	}, more);
}

function secret(least, most) {
	return value(function(v) {
		const n = encoder.encode(v).length;

		return n >= least && n <= most || _('%d to %d bytes').format(least, most);
	}, { secret: true });
}

function number(least, most, whole) {
	const want = whole ? _('a whole number from %d to %d').format(least, most) : _('a number from %s to %s').format(least, most);

	return value(function(v) {
		return (whole ? /^[+-]?\d+$/ : /^[+-]?(\d+\.?\d*|\.\d+)$/).test(v) && +v >= least && +v <= most || want;
	});
}

function choice() {
	return { widget: form.ListValue, values: Array.prototype.slice.call(arguments), check: function(v) {
		return this.values.indexOf(v) >= 0 || _('one of %s').format(this.values.join(', '));
	} };
}

const flag = { widget: form.Flag, check: function(v) { return /^[01]$/.test(v) || _('1 or 0'); } };

function isPort(v) {
	return /^\d+$/.test(v) && +v >= 1 && +v <= 65535;
}

const port = value(function(v) { return isPort(v) || _('a port, 1 to 65535'); });
const path = value(function(v) { return v != '' || _('a path'); });
const id = '[A-Za-z2-7]{56}';
const node = matches(new RegExp('^' + id + '$'), _('a NodeID: 56 letters and digits'));
const address = matches(new RegExp('^' + id + '(\\.gnet\\.alt)?$', 'i'), _('an address: 56 letters and digits, with or without .gnet.alt'));
const pattern = matches(/^(?=.{1,64}$)(?:[^\[\\\s\/]|\\[^\s\/]|\[\^?(?:[^\]\\\s\/]|\\[^\s\/])+\])+$/, _('the name of an interface, or a pattern with * ? [a-z]'));
const host = '(?:\\[[0-9A-Fa-f:.]+\\]|[^\\s:\\[\\]\\/]+)';

const range = value(function(v) {
	const ports = v.split('-');

	return ports.length == 2 && ports.every(isPort) && ports[1] - ports[0] >= 3 || _('a range of four ports or more, such as 18250-18313');
});

const hostPort = value(function(v) {
	const m = v.match(new RegExp('^' + host + '(?::(\\d+))?$'));

	return /^[0-9a-f:.]+$/i.test(v) && v.indexOf('::') >= 0 || m != null && (m[1] == null || isPort(m[1])) || _('a host and a port, such as node.example.org:18245 or [2001:db8::1]:18245');
});

const listener = value(function(v) {
	const m = v.match(new RegExp('^(?:' + host + ')?:(\\d+)$'));

	return isPort(v) || m != null && isPort(m[1]) || _('a port, or an address and a port, such as 192.168.1.1:1080');
});

const prefix = matches(/^[0-9A-Fa-f.:]+(\/\d{1,3})?$/, _('an address, or a range such as 192.168.0.2/32'));
const rule = matches(/^(accept|reject)\s+\S+$/, _('accept or reject, host, port, such as: accept *.example.org:443'));
const proxyPath = matches(/^([^>\s]+>)+internet$/, _('hops to internet, such as rand>rand>rand>internet'));
const tunnelPath = matches(/^[^>\s]+(>[^>\s]+)+:\d+$/, _('listener, hops, target, such as 1000>rand>rand>example.org:80'));
const label = matches(/^(?!.{64})[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$/, _('letters, digits and -'));
const servicePort = matches(/^\s*\d+\s+\S.*$/, _('a port and what is behind it, such as: 80 127.0.0.1:8080'));
const visitor = matches(/^client-[A-Za-z2-7]{56}$/, _('a key that begins with client-'));
const device = matches(/^(?!lo$|gn-)[^\s\/*?\["]{1,15}$/, _('the name of an interface, such as br-lan'));
const client = matches(/^(([0-9a-f]{2}([:-][0-9a-f]{2}){5})|([0-9a-f]{4}\.){2}[0-9a-f]{4}|\d+(\.\d+){3}|[0-9a-f:.]*:[0-9a-f:.]*)=(off|names|all|block)$/i, _('a MAC or IP address = off, names, all or block'));
const light = matches(/^[^\/ ]{0,64}$/, _('a name below /sys/class/leds'));

/* Kinds of the options of each type of section, and how the section is shown: one of a
 * fixed name, or many, with names of their own or without. */
const limits = { rate: number(0, 1e6), burst: number(0, 1e4), quota: number(0, 1e6) };

const sections = {
	globalnet: { title: _('General'), single: 'main', kinds: {
		network: text(1, 64), passphrase: secret(8, 256), passphrase_file: path, interface: pattern, exclude: pattern,
		listen_port: port, port_range: range, state_dir: path, identity: path, socket: path,
		log_level: choice('debug', 'info', 'warn', 'error'), wireguard: choice('auto', 'kernel', 'user'),
		memory: choice('auto', 'small', 'large'), dht: choice('full', 'client', 'off'), max_neighbours: number(1, 1000, true),
		hello_interval: number(0.1, 600), update_interval: number(0.1, 600), console_port: value(function(v) { return v === '0' || port.check(v) === true || _('a port, or 0'); })
	} },
	peer: { title: _('Internet peers'), anonymous: true, kinds: { node: node, address: hostPort, enabled: flag } },
	onion: { title: _('Circuits'), single: 'onion', kinds: Object.assign({
		enabled: flag, relay: flag, hops: number(1, 8, true), min_hops: number(1, 8, true), family: secret(16, 256)
	}, limits) },
	exit: { title: _('Exit'), single: 'exit', kinds: Object.assign({
		policy: choice('none', 'web', 'reduced', 'all'), rule: rule, allow_private: prefix, inside: flag, serve_port: port,
		secret: secret(16, 256), connections: number(1, 65536, true)
	}, limits) },
	proxy: { title: _('Proxies'), kinds: { enabled: flag, listen: listener, path: proxyPath, isolate_destination: flag, wait: flag } },
	tunnel: { title: _('Tunnels'), kinds: { enabled: flag, path: tunnelPath } },
	name: { title: _('Names'), kinds: { name: label, node: address } },
	exit_secret: { title: _('Exits’ secrets'), anonymous: true, kinds: { node: node, secret: secret(16, 256) } },
	hidden_service: { title: _('Hidden services'), kinds: {
		enabled: flag, port: servicePort, listing: flag, key: path, points: number(3, 10, true), restricted: flag,
		client: visitor, single_hop: flag, work: flag
	} },
	service_key: { title: _('Keys for services'), kinds: { service: address, file: path } },
	lan: { title: _('LAN'), kinds: {
		enabled: flag, mode: choice('names', 'all', 'off'), interface: device, dns: flag, udp: flag, block_doh: flag, mesh: flag,
		client_rate: number(0, 1e6), client: client
	} },
	web: { title: _('Web page'), single: 'web', kinds: { enabled: flag, name: text(0, 64), listen: listener, public_status: flag, metrics: flag } },
	service: { title: _('Router'), single: 'service', kinds: {
		enabled: flag, memlimit: number(0, 1048576, true), gc: number(0, 10000, true), maxprocs: number(0, 1024, true),
		jail: flag, manage_firewall: flag, manage_dns: flag, manage_wireless: flag, led: light
	} },
	radio: { title: _('Radios'), kinds: {
		enabled: flag, mode: choice('auto', 'mesh', 'adhoc'), channel: number(0, 233, true), mesh_id: text(1, 32),
		changed: value(null, { readonly: true })
	} }
};

/* An option of a newer agent than this page: shown, and judged by the agent alone. */
function kindOf(type, name) {
	return sections[type] && sections[type].kinds[name] || value();
}

/* Descriptions are HTML in LuCI. */
function escape(s) {
	return s.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}

function addOption(s, type, name) {
	const known = options.sections[type].options[name], kind = kindOf(type, name);
	const usual = known.usual != null ? known.usual : known.example;
	const o = s.option(known.list ? form.DynamicList : kind.widget, name, name);

	o.description = escape(known.help + (known.live || type == 'radio' || type == 'service' ? '' : ' ' + _('Takes effect at a restart.')));
	o.rmempty = true;
	if (kind.widget == form.Flag) {
		o.default = usual == '1' ? o.enabled : o.disabled;
	} else if (kind.values && !known.list) {
		o.value('', _('default (%s)').format(usual));
		kind.values.forEach(function(v) { o.value(v); });
	} else {
		if (!kind.secret && usual != null)
			o.placeholder = Array.isArray(usual) ? usual[0] : usual;
		o.password = !!kind.secret && !known.list;
		o.readonly = !!kind.readonly;
		o.validate = function(section_id, v) {
			return v == null || v === '' || kind.check(v);
		};
	}
	return o;
}

/* Names of single sections that this page has made: they are dropped if nothing is in them. */
const made = {};

function addSection(map, type) {
	const shown = sections[type] || { title: type, anonymous: true, kinds: {} }, known = options.sections[type];
	const help = escape(known.help);
	let s;

	if (shown.single) {
		const there = uci.sections('globalnet', type)[0];
		let name = there ? there['.name'] : shown.single;

		if (!there)
			made[uci.add('globalnet', type, name)] = true;
		s = map.section(form.NamedSection, name, type, shown.title, help);
	} else {
		s = map.section(form.TypedSection, type, shown.title, help);
		s.addremove = true;
		s.anonymous = !!shown.anonymous;
	}
	Object.keys(known.options).forEach(function(name) { addOption(s, type, name); });
	return s;
}

/* Asks the agent whether it would take what is about to be saved. */
function check() {
	const all = uci.sections('globalnet').filter(function(s) {
		const empty = made[s['.name']] && Object.keys(s).every(function(name) { return name[0] == '.'; });

		if (empty)
			uci.remove('globalnet', s['.name']);
		delete made[s['.name']];
		return !empty;
	});

	return gn.calls.check(all.map(function(s) {
		const section = { type: s['.type'], name: s['.anonymous'] ? '' : s['.name'], options: {} };

		Object.keys(s).forEach(function(name) {
			if (name[0] != '.')
				section.options[name] = s[name];
		});
		return section;
	})).then(function(answer) {
		const lines = (answer.problems || []).map(function(p) {
			const s = all[p.section], where = [];

			if (s)
				where.push((sections[s['.type']] || {}).title || s['.type'], s['.anonymous'] ? '' : s['.name']);
			where.push(p.option);
			return where.filter(function(w) { return w; }).join(' · ') + ': ' + p.text;
		});

		if (lines.length)
			throw new Error(lines.join('\n'));
	});
}

return baseclass.extend({
	sections: sections,
	kindOf: kindOf,
	addSection: addSection,
	check: check
});
