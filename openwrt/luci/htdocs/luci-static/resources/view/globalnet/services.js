'use strict';
'require view';
'require poll';
'require dom';
'require ui';
'require globalnet.common as gn';

return view.extend({
	load: function() {
		return this.ask();
	},

	ask: function() {
		return gn.calls.services().catch(function(e) { return { problem: e.message }; });
	},

	render: function(answer) {
		const writes = L.hasViewPermission();

		this.body = E('div');
		this.show(answer);
		poll.add(L.bind(this.update, this), 5);
		return E([], [
			gn.style(),
			E('h2', {}, [ _('Hidden services') ]),
			E('p', {}, [ _('A service of this router or of a machine behind it, under an address that every node of the network reaches. Nobody learns where it is.') ]),
			this.body
		].concat(writes ? [ this.form() ] : []));
	},

	update: function() {
		return this.ask().then(L.bind(this.show, this));
	},

	show: function(answer) {
		if (answer.problem) {
			dom.content(this.body, [ E('div', { 'class': 'alert-message warning', 'style': 'white-space:pre-wrap' }, [ answer.problem ]) ]);
			return;
		}
		dom.content(this.body, [ gn.table([ _('Name'), _('Address'), _('Ports'), _('State'), _('Visitors'), '' ],
			(answer.services || []).map(L.bind(this.row, this)), _('No hidden service yet.')) ]);
	},

	row: function(s) {
		const buttons = [ E('button', { 'class': 'btn', 'click': ui.createHandlerFn(this, 'code', s.name) }, [ _('QR code') ]) ];

		if (L.hasViewPermission())
			buttons.push(' ', E('button', { 'class': 'btn cbi-button-remove', 'click': ui.createHandlerFn(this, 'remove', s.name) }, [ _('Remove') ]));
		return [
			s.name,
			gn.mono(s.address || '–'),
			(s.ports || []).map(function(p) { return p.port + ' → ' + p.target; }).join(', '),
			this.state(s),
			_('%d, %d connections').format(s.clients, s.streams),
			E('div', {}, buttons)
		];
	},

	state: function(s) {
		let text = s.error || (s.published_ns < 0 ? _('being published') : _('reachable, published %s ago').format(gn.duration(s.published_ns)));

		if (s.restricted)
			text += '; ' + _('only for %d clients').format(s.allowed);
		if (s.single_hop)
			text += '; ' + _('not hidden: single hop');
		return text;
	},

	code: function(name) {
		return gn.calls.service(name).then(function(s) {
			ui.showModal(s.name, [
				gn.qr(s.rows || []),
				E('p', {}, [ gn.mono(s.address) ]),
				E('p', {}, [ gn.mono(s.link) ]),
				E('div', { 'class': 'right' }, [ E('button', { 'class': 'btn', 'click': ui.hideModal }, [ _('Close') ]) ])
			]);
		}).catch(gn.fail);
	},

	remove: function(name) {
		gn.confirm(_('Remove %s').format(name), _('The service is no longer offered. Its key stays: the same name added again has the same address.'), _('Remove'), L.bind(function() {
			return gn.calls.serviceRemove(name).then(L.bind(this.update, this));
		}, this));
	},

	form: function() {
		const name = this.input('name', 'web'), port = this.input('port', '80'), target = this.input('target', '127.0.0.1:8080');
		const listing = this.box('listing'), restricted = this.box('restricted'), single = this.box('single_hop');

		return gn.section(_('Add a service'), [
			this.line(_('Name'), name, _('For you; others do not see it.')),
			this.line(_('Port'), port, _('What visitors ask for: 80 for a web page.')),
			this.line(_('What is behind it'), target, _('host:port, unix:PATH, or the path of a folder whose files are served, such as /srv/www.')),
			this.line(_('List folders'), listing, _('Show what is in folders that have no index.html.')),
			this.line(_('Restricted'), restricted, _('Let only clients in whose keys are added in the settings.')),
			this.line(_('Single hop'), single, _('Faster, and this router is not hidden. Its visitors stay anonymous.')),
			E('div', { 'class': 'right' }, [ E('button', {
				'class': 'btn cbi-button-add', 'id': 'gn-add',
				'click': ui.createHandlerFn(this, function() {
					return gn.calls.serviceAdd(name.value.trim(), +port.value, target.value.trim(), listing.checked, restricted.checked, single.checked).then(L.bind(function() {
						name.value = target.value = port.value = '';
						return this.update();
					}, this)).catch(gn.fail);
				})
			}, [ _('Add') ]) ])
		]);
	},

	input: function(name, placeholder) {
		return E('input', { 'type': 'text', 'class': 'cbi-input-text', 'id': 'gn-' + name, 'placeholder': placeholder });
	},

	box: function(name) {
		return E('input', { 'type': 'checkbox', 'id': 'gn-' + name });
	},

	line: function(title, field, help) {
		return E('div', { 'class': 'cbi-value' }, [
			E('label', { 'class': 'cbi-value-title', 'for': field.id }, [ title ]),
			E('div', { 'class': 'cbi-value-field' }, [ field, E('div', { 'class': 'cbi-value-description' }, [ help ]) ])
		]);
	},

	handleSaveApply: null,
	handleSave: null,
	handleReset: null
});
