'use strict';
'require baseclass';
'require rpc';
'require ui';

/*
 * What the pages share: the calls of the ubus object globalnet, numbers as people
 * read them, and small pictures. Texts of others go into the page as text nodes: in
 * LuCI a string as the only child of E() would be taken as HTML, an array is not.
 */

function declare(method, params) {
	const call = rpc.declare({ object: 'globalnet', method: method, params: params, reject: true });

	return function() {
		return call.apply(null, arguments).then(function(answer) {
			if (answer && answer.error) {
				const e = new Error(answer.hint ? answer.error + '\n' + answer.hint : answer.error);
				e.code = answer.code;
				throw e;
			}
			return answer || {};
		});
	};
}

const calls = {
	status: declare('status'),
	lan: declare('lan'),
	services: declare('services'),
	service: declare('service', [ 'name' ]),
	log: declare('log', [ 'lines' ]),
	check: declare('check', [ 'sections' ]),
	restart: declare('restart'),
	newnym: declare('newnym'),
	lanOff: declare('lan_off'),
	serviceAdd: declare('service_add', [ 'name', 'port', 'target', 'listing', 'restricted', 'single_hop' ]),
	serviceRemove: declare('service_remove', [ 'name' ])
};

function svg(tag, attributes, children) {
	const node = document.createElementNS('http://www.w3.org/2000/svg', tag);

	for (let name in attributes)
		node.setAttribute(name, attributes[name]);
	(children || []).forEach(function(child) {
		node.appendChild(typeof child == 'string' ? document.createTextNode(child) : child);
	});
	return node;
}

/* What was seen of the links, for as long as the browser's tab is open. */
const historyKey = 'globalnet.links', historyLength = 90;

function remember(neighbours) {
	let all = {};

	try {
		all = JSON.parse(sessionStorage.getItem(historyKey)) || {};
	} catch (e) {}

	const now = Date.now(), kept = {};

	neighbours.forEach(function(n) {
		const samples = all[n.node] || [], last = samples[samples.length - 1];

		if (!last || now - last.at > 1000)
			samples.push({ at: now, rtt: n.rtt_ns / 1e6, cost: n.cost, rx: n.rx_bytes, tx: n.tx_bytes });
		kept[n.node] = samples.slice(-historyLength);
	});
	try {
		sessionStorage.setItem(historyKey, JSON.stringify(kept));
	} catch (e) {}
	return kept;
}

/* Bytes a second between the last two samples. */
function rate(samples, name) {
	const n = (samples || []).length;

	if (n < 2)
		return 0;

	const a = samples[n - 2], b = samples[n - 1];

	return Math.max(0, (b[name] - a[name]) * 1000 / (b.at - a.at));
}

/* A line of values; null is a gap. */
function spark(values, label) {
	const width = 90, height = 22, most = Math.max.apply(null, values.concat(1e-9)) * 1.1;
	let path = '', pen = 'M';

	values.forEach(function(v, i) {
		if (v == null) {
			pen = 'M';
			return;
		}
		const x = width - (values.length - 1 - i) * width / (historyLength - 1);

		path += pen + x.toFixed(1) + ' ' + (height - 1 - v / most * (height - 2)).toFixed(1);
		pen = 'L';
	});
	if (values.length == 1 && path)
		path += 'h1';
	return svg('svg', { 'class': 'gn-spark', width: width, height: height, viewBox: '0 0 ' + width + ' ' + height, role: 'img', 'aria-label': label }, [
		svg('title', {}, [ label ]),
		svg('path', { d: path || 'M0 0', fill: 'none', stroke: 'currentColor', 'stroke-width': 1.5, 'stroke-linejoin': 'round' })
	]);
}

const dashes = { radio: '', wire: '', internet: '6 4', mesh: '2 4' };

/* This node, its neighbours around it, and who is reached through each of them. */
function picture(s) {
	const width = 720, shapes = [], marks = [], neighbours = s.neighbours || [], behind = {};
	let others = 0, most = 0;

	neighbours.forEach(function(n) { behind[n.node] = []; });
	(s.routes || []).forEach(function(r) {
		if (neighbours.some(function(n) { return n.address == r.address; }))
			return;
		if (behind[r.neighbour] && behind[r.neighbour].length < 12)
			behind[r.neighbour].push(r);
		else
			others++;
	});
	neighbours.forEach(function(n) { most = Math.max(most, behind[n.node].length); });

	/* Two neighbours and few behind them are side by side: a low picture will do. */
	const height = neighbours.length > 2 ? 380 : Math.min(380, 110 + 34 * Math.max(0, most - 1)), cx = width / 2, cy = height / 2;

	function node(x, y, radius, name, text, kind) {
		marks.push(svg('g', { 'class': 'gn-node gn-' + kind }, [
			svg('title', {}, [ text ]),
			svg('circle', { cx: x.toFixed(1), cy: y.toFixed(1), r: radius }),
			svg('text', { x: x.toFixed(1), y: (y + radius + 13).toFixed(1), 'text-anchor': 'middle' }, [ name ])
		]));
	}

	function line(x1, y1, x2, y2, kind, dash, wide) {
		shapes.push(svg('line', {
			'class': 'gn-' + kind, x1: x1.toFixed(1), y1: y1.toFixed(1), x2: x2.toFixed(1), y2: y2.toFixed(1),
			'stroke-width': wide, 'stroke-dasharray': dash
		}));
	}

	neighbours.forEach(function(n, i) {
		const angle = i / neighbours.length * 2 * Math.PI;
		const x = cx + Math.cos(angle) * width * 0.24, y = cy + Math.sin(angle) * height * 0.26;
		const up = n.state == 'up', far = behind[n.node];

		line(cx, cy, x, y, up ? 'link' : 'broken', dashes[n.class] || '', up && n.cost < 200 ? 3 : 1.5);
		far.forEach(function(r, j) {
			const spread = Math.min(2 * Math.PI / neighbours.length, 1.9);
			const a = angle + (far.length > 1 ? (j / (far.length - 1) - 0.5) * spread * 0.8 : 0);
			const fx = cx + Math.cos(a) * width * 0.44, fy = cy + Math.sin(a) * height * 0.40;

			line(x, y, fx, fy, 'far', '', 1);
			node(fx, fy, 5, short(r.address, true), r.address + '\n' + _('metric') + ' ' + r.metric, 'other');
		});
		node(x, y, 9, short(n.node), n.node + '\n' + n.address, up ? 'up' : 'down');
	});
	node(cx, cy, 12, _('this router'), s.node, 'self');
	if (others)
		marks.push(svg('text', { x: 8, y: height - 8 }, [ _('and %d more').format(others) ]));
	return svg('svg', {
		'class': 'gn-picture', viewBox: '0 0 ' + width + ' ' + height, role: 'img',
		'aria-label': _('%d neighbours, %d nodes in reach').format(neighbours.length, s.nodes || 0)
	}, shapes.concat(marks));
}

/* Rows of 0 and 1 as a code for cameras, with the border that they need. */
function qr(rows) {
	const size = rows.length + 8;
	let path = '';

	rows.forEach(function(row, y) {
		for (let x = 0; x < row.length; x++)
			if (row[x] == '1')
				path += 'M' + (x + 4) + ' ' + (y + 4) + 'h1v1h-1z';
	});
	return svg('svg', { 'class': 'gn-qr', viewBox: '0 0 ' + size + ' ' + size, 'shape-rendering': 'crispEdges', role: 'img', 'aria-label': _('QR code') }, [
		svg('rect', { width: size, height: size, fill: '#fff' }),
		svg('path', { d: path, fill: '#000' })
	]);
}

/* The start of a NodeID, or the end of an address. */
function short(id, address) {
	id = id || '';
	return address ? '…' + id.split(':').slice(-2).join(':') : id.slice(0, 8);
}

function duration(ns) {
	const s = Math.max(0, Math.round(ns / 1e9));

	if (s < 120)
		return _('%d s').format(s);
	if (s < 7200)
		return _('%d min').format(s / 60);
	if (s < 172800)
		return _('%d h').format(s / 3600);
	return _('%d days').format(s / 86400);
}

function bytes(n) {
	const units = [ 'B', 'KB', 'MB', 'GB', 'TB' ];
	let i = 0;

	for (n = n || 0; n >= 1000 && i < units.length - 1; i++)
		n /= 1000;
	return (i && n < 10 ? n.toFixed(1) : Math.round(n)) + ' ' + units[i];
}

/* A table; cells are nodes or texts. */
function table(titles, rows, empty) {
	const lines = [ E('tr', { 'class': 'tr table-titles' }, titles.map(function(t) { return E('th', { 'class': 'th' }, [ t ]); })) ];

	rows.forEach(function(row, i) {
		lines.push(E('tr', { 'class': 'tr cbi-rowstyle-%d'.format(1 + i % 2) }, row.map(function(cell, j) {
			return E('td', { 'class': 'td', 'data-title': titles[j] }, [ cell == null ? '' : cell ]);
		})));
	});
	if (!rows.length)
		lines.push(E('tr', { 'class': 'tr placeholder' }, [ E('td', { 'class': 'td', 'colspan': titles.length }, [ E('em', {}, [ empty ]) ]) ]));
	return E('table', { 'class': 'table cbi-section-table' }, lines);
}

/* Pairs, one below the other. */
function list(pairs) {
	return E('table', { 'class': 'table' }, pairs.map(function(p) {
		return E('tr', { 'class': 'tr' }, [
			E('td', { 'class': 'td left', 'width': '33%' }, [ p[0] ]),
			E('td', { 'class': 'td left' }, [ p[1] == null ? '' : p[1] ])
		]);
	}));
}

function mono(text) {
	return E('code', { 'class': 'gn-mono' }, [ text ]);
}

function section(title, children) {
	return E('div', { 'class': 'cbi-section' }, [ E('h3', {}, [ title ]) ].concat(children));
}

function fail(e) {
	ui.addNotification(null, E('p', { 'style': 'white-space:pre-wrap' }, [ e.message || String(e) ]), 'danger');
}

/* Asks before what cannot be taken back. */
function confirm(title, text, action, run) {
	ui.showModal(title, [
		E('p', {}, [ text ]),
		E('div', { 'class': 'right' }, [
			E('button', { 'class': 'btn', 'click': ui.hideModal }, [ _('Cancel') ]), ' ',
			E('button', { 'class': 'btn cbi-button-negative', 'click': ui.createHandlerFn(null, function() {
				return Promise.resolve(run()).catch(fail).finally(ui.hideModal);
			}) }, [ action ])
		])
	]);
}

const css = '.gn-mono{word-break:break-all}' +
	'.gn-picture{width:100%;max-width:720px;font-size:12px;fill:currentColor}' +
	'.gn-picture line{stroke:currentColor}.gn-picture .gn-far{opacity:.35}.gn-picture .gn-broken{stroke:#c0392b}' +
	'.gn-node circle{stroke:#fff;stroke-width:1.5}.gn-self circle{fill:#1f6feb}.gn-up circle{fill:#2e8b57}' +
	'.gn-down circle{fill:#c0392b}.gn-other circle{fill:#888}' +
	'.gn-qr{display:block;width:100%;max-width:280px;margin:0 auto}' +
	'.gn-log{width:100%;font-family:monospace;font-size:12px;white-space:pre-wrap;word-break:break-word;max-height:70vh;overflow:auto}';

function style() {
	return E('style', {}, [ css ]);
}

return baseclass.extend({
	calls: calls,
	svg: svg,
	remember: remember,
	rate: rate,
	spark: spark,
	picture: picture,
	qr: qr,
	short: short,
	duration: duration,
	bytes: bytes,
	table: table,
	list: list,
	mono: mono,
	section: section,
	fail: fail,
	confirm: confirm,
	style: style
});
