'use strict';
'require view';
'require poll';
'require dom';
'require globalnet.common as gn';

return view.extend({
	load: function() {
		return this.lines();
	},

	lines: function() {
		return gn.calls.log(300).then(function(a) { return a.lines || []; }, function(e) { return [ e.message ]; });
	},

	render: function(lines) {
		const log = E('div', { 'class': 'gn-log', 'id': 'gn-log', 'tabindex': '0', 'role': 'log', 'aria-label': _('Log') });
		const filter = E('input', { 'type': 'text', 'class': 'cbi-input-text', 'placeholder': _('Show lines with …'), 'aria-label': _('Show lines with …'), 'input': show });
		let all = lines;

		function show() {
			const wanted = filter.value.toLowerCase();
			const end = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
			const some = all.filter(function(l) { return l.toLowerCase().indexOf(wanted) >= 0; });

			dom.content(log, [ some.join('\n') || _('Nothing was written yet.') ]);
			if (end)
				log.scrollTop = log.scrollHeight;
		}

		show();
		poll.add(L.bind(function() {
			return this.lines().then(function(now) {
				all = now;
				show();
			});
		}, this), 5);
		requestAnimationFrame(function() { log.scrollTop = log.scrollHeight; });
		return E([], [ gn.style(), E('h2', {}, [ _('Log of GlobalNet') ]), E('div', { 'class': 'cbi-section' }, [ filter, log ]) ]);
	},

	handleSaveApply: null,
	handleSave: null,
	handleReset: null
});
