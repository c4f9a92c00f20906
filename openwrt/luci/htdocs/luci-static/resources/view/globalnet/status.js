'use strict';
'require view';
'require poll';
'require dom';
'require ui';
'require globalnet.common as gn';

return view.extend({
	load: function() {
		return gn.calls.status();
	},

	render: function(s) {
		const body = E('div');

		this.show(body, s);
		poll.add(L.bind(function() {
			return gn.calls.status().then(L.bind(this.show, this, body)).catch(function() {});
		}, this), 5);
		return E([], [ gn.style(), E('h2', {}, [ _('GlobalNet') ]), body ]);
	},

	show: function(body, s) {
		const history = gn.remember(s.neighbours || []), parts = [ this.verdict(s) ];

		if (s.running)
			parts.push(
				gn.section(_('This router'), [ this.self(s) ]),
				gn.section(_('Neighbours'), [ this.neighbours(s, history) ]),
				gn.section(_('Who is in reach'), [ gn.picture(s) ]));
		if (s.onion)
			parts.push(gn.section(_('Anonymous circuits'), [ this.onion(s.onion) ]));
		dom.content(body, parts);
	},

	verdict: function(s) {
		const kind = { working: 'success', connecting: 'notice', alone: 'notice' }[s.verdict] || 'warning';
		const parts = [ E('p', { 'id': 'gn-verdict' }, [ E('strong', {}, [ s.text ]) ]) ];

		if (s.next)
			parts.push(E('p', {}, [ s.next ]));
		if (L.hasViewPermission())
			parts.push(E('button', { 'class': 'btn cbi-button-action', 'click': ui.createHandlerFn(this, 'restart') }, [
				s.running ? _('Restart') : _('Start')
			]));
		return E('div', { 'class': 'alert-message ' + kind }, parts);
	},

	restart: function() {
		return gn.calls.restart().catch(gn.fail);
	},

	newnym: function() {
		return gn.calls.newnym().then(function() {
			ui.addNotification(null, E('p', {}, [ _('New connections take new circuits from now on.') ]), 'info');
		}).catch(gn.fail);
	},

	self: function(s) {
		const interfaces = (s.interfaces || []).map(function(i) {
			return i.name + (i.radio ? ' (' + _('radio') + ')' : '') + (i.up ? '' : ' – ' + _('down')) + (i.error ? ' – ' + i.error : '');
		});

		return gn.list([
			[ _('Network'), s.network ],
			[ _('NodeID'), gn.mono(s.node) ],
			[ _('Address in the mesh'), gn.mono(s.address) ],
			[ _('Looks for neighbours on'), interfaces.join(', ') || _('nothing') ],
			[ _('Nodes in reach'), String(s.nodes) ],
			[ _('Running for'), gn.duration(s.uptime_ns) ],
			[ _('Version'), s.version ]
		]);
	},

	neighbours: function(s, history) {
		const kinds = { radio: _('radio'), wire: _('cable'), internet: _('internet'), mesh: _('through the mesh') };

		return gn.table([ _('Node'), _('Link'), _('State'), _('Cost'), _('Round trip'), _('Down'), _('Up'), _('Round trip, last minutes') ],
			(s.neighbours || []).map(function(n) {
				const samples = history[n.node] || [], up = n.state == 'up';
				const times = samples.map(function(p) { return p.rtt > 0 && p.cost < 65535 ? p.rtt : null; });
				const most = Math.max.apply(null, times.concat(0));

				return [
					E('span', { 'title': n.node + '\n' + n.address }, [ gn.short(n.node) ]),
					(kinds[n.class] || n.class || '–') + (n.via ? ', ' + n.via : ''),
					up ? _('up, %s').format(gn.duration(n.since_ns)) : n.state == 'failed' ? _('failed') : _('connecting'),
					n.cost < 65535 ? String(n.cost) : '–',
					n.rtt_ns ? _('%s ms').format((n.rtt_ns / 1e6).toFixed(1)) : '–',
					_('%s/s').format(gn.bytes(gn.rate(samples, 'rx'))),
					_('%s/s').format(gn.bytes(gn.rate(samples, 'tx'))),
					gn.spark(times, _('at most %s ms').format(most.toFixed(1)))
				];
			}), _('No neighbour yet.'));
	},

	onion: function(o) {
		const rows = [
			[ _('Relays known'), _('%d, %d of them lead to the internet').format(o.relays, o.exits) ],
			[ _('Circuits'), _('%d ready, %d in use, of %d hops').format(o.ready, o.used, o.short || o.hops) ],
			[ _('Carries for others'), o.relay ? _('%d circuits, %d connections').format(o.carried, o.streams) : _('nothing') ],
			[ _('Lets others out'), o.exit || _('no') ]
		];

		(o.doors || []).forEach(function(d) {
			rows.push([ d.kind == 'proxy' ? _('Proxy %s').format(d.name) : _('Tunnel %s').format(d.name), d.open ? d.where : (d.error || _('closed')) ]);
		});

		const parts = [ gn.list(rows) ];

		if (L.hasViewPermission())
			parts.push(E('button', { 'class': 'btn', 'click': ui.createHandlerFn(this, 'newnym') }, [ _('New circuits') ]));
		return E('div', {}, parts);
	},

	handleSaveApply: null,
	handleSave: null,
	handleReset: null
});
