'use strict';
'require view';
'require form';
'require uci';
'require globalnet.options as options';
'require globalnet.settings as settings';

return view.extend({
	load: function() {
		return uci.load('globalnet');
	},

	render: function() {
		const m = this.map = new form.Map('globalnet', _('Settings of GlobalNet'), _('What is empty has its default. The agent takes most changes at once and keeps its links.'));

		m.tabbed = true;
		Object.keys(options.sections).forEach(function(type) {
			if (type != 'lan')
				settings.addSection(m, type);
		});
		return m.render();
	},

	/* The agent judges the whole first: nothing is saved that it would refuse. */
	handleSave: function() {
		return this.map.save(settings.check);
	}
});
