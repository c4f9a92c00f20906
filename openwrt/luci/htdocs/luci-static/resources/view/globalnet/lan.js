'use strict';
'require view';
'require form';
'require uci';
'require poll';
'require dom';
'require ui';
'require globalnet.common as gn';
'require globalnet.settings as settings';

return view.extend({
	load: function() {
		/* Who may only look does not get the configuration: it holds the passphrase. */
		return Promise.all([ this.ask(), L.hasViewPermission() ? uci.load('globalnet') : null ]);
	},

	ask: function() {
		return gn.calls.lan().catch(function(e) { return { problem: e.message }; });
	},

	render: function(loaded) {
		this.body = E('div');
		this.show(loaded[0]);
		poll.add(L.bind(function() { return this.ask().then(L.bind(this.show, this)); }, this), 5);

		const head = E([], [ gn.style(), E('h2', {}, [ _('Phones and laptops of the LAN') ]), this.body ]);

		if (!L.hasViewPermission()) {
			this.handleSave = this.handleSaveApply = this.handleReset = null;
			return head;
		}

		const m = this.map = new form.Map('globalnet');

		settings.addSection(m, 'lan');
		return m.render().then(function(node) {
			head.appendChild(node);
			return head;
		});
	},

	show: function(s) {
		if (s.problem) {
			dom.content(this.body, [ E('div', { 'class': 'alert-message warning', 'style': 'white-space:pre-wrap' }, [ s.problem ]) ]);
			return;
		}

		const modes = {
			names: _('names below gnet.alt lead to services and nodes, the rest is as before'),
			all: _('everything goes through circuits'), off: _('nothing')
		};
		const parts = [], own = {};

		if (s.off)
			parts.push(E('div', { 'class': 'alert-message warning' }, [ _('Switched off until the configuration is read again: traffic leaves as it is.') ]));
		if (s.error)
			parts.push(E('div', { 'class': 'alert-message danger' }, [ s.error ]));
		(s.networks || []).forEach(function(n) {
			(n.clients || []).forEach(function(c) {
				const at = c.lastIndexOf('=');

				own[c.slice(0, at)] = c.slice(at + 1);
			});
		});
		parts.push(gn.section(_('Networks'), [ gn.table([ _('Network'), _('Interfaces'), _('Mode'), _('Its clients get') ], (s.networks || []).map(function(n) {
			return [ n.name, (n.interfaces || []).join(', '), n.mode, modes[n.mode] || '' ];
		}), _('No LAN is served: add one below.')) ]));
		parts.push(gn.section(_('Clients'), [
			gn.table([ _('Address'), _('Mode of its own'), _('Connections') ], this.clients(s.clients || [], own), _('No client uses the network now.')),
			E('p', {}, [ _('%d connections and %d flows of datagrams; %d names have addresses; %d packets refused.').format(
				s.streams || 0, s.flows || 0, s.names || 0, Object.keys(s.blocked || {}).reduce(function(n, k) { return n + s.blocked[k]; }, 0)) ])
		]));
		if (L.hasViewPermission() && !s.off && (s.networks || []).length)
			parts.push(E('div', { 'class': 'right' }, [ E('button', { 'class': 'btn cbi-button-negative', 'click': ui.createHandlerFn(this, 'off') }, [ _('Switch off') ]) ]));
		dom.content(this.body, parts);
	},

	/* Clients with connections, and those that have a mode of their own. */
	clients: function(active, own) {
		const rows = active.map(function(c) { return [ c.addr, own[c.addr] || '', String(c.streams) ]; });

		Object.keys(own).forEach(function(addr) {
			if (!active.some(function(c) { return c.addr == addr; }))
				rows.push([ addr, own[addr], '0' ]);
		});
		return rows;
	},

	off: function() {
		gn.confirm(_('Switch off'), _('Traffic of the clients leaves the router as it is, until the configuration is read again.'), _('Switch off'), L.bind(function() {
			return gn.calls.lanOff().then(L.bind(this.ask, this)).then(L.bind(this.show, this));
		}, this));
	},

	handleSave: function() {
		return this.map.save(settings.check);
	}
});
