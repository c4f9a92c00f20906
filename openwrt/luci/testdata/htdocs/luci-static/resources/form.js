'use strict';
'require baseclass';
'require uci';
'require ui';

/* The forms of the stand-in: sections of one configuration, with the widgets that the
 * views use. */

const AbstractOption = baseclass.extend({
	__init__(section, name, title) {
		Object.assign(this, { section, map: section.map, option: name, title, rmempty: true, values: [], nodes: {} });
	},

	value(key, label) {
		this.values.push([ key, label == null ? key : label ]);
	},

	id(section) { return 'cbid.' + this.map.config + '.' + section + '.' + this.option; },
	current(section) { return uci.get(this.map.config, section, this.option); },
	validate() { return true; },

	/* Says whether the value of an element is right, and shows it. */
	judge(section, input, value) {
		const verdict = value === '' ? true : this.validate(section, value);

		input.classList.toggle('cbi-input-invalid', verdict !== true);
		if (verdict === true)
			input.removeAttribute('data-tooltip');
		else
			input.setAttribute('data-tooltip', verdict);
		return verdict === true;
	},

	render(section) {
		const parts = [ this.nodes[section] = this.widget(section) ];

		if (this.description)
			parts.push(E('div', { 'class': 'cbi-value-description' }, this.description));
		return E('div', { 'class': 'cbi-value', 'data-name': this.option, 'id': this.id(section).replace(/^cbid/, 'cbi').replace(/\./g, '-') }, [
			E('label', { 'class': 'cbi-value-title', 'for': 'widget.' + this.id(section) }, [ this.title ]),
			E('div', { 'class': 'cbi-value-field' }, parts)
		]);
	},

	parse(section) {
		const was = this.current(section), now = this.read(section);

		if (!this.valid(section))
			throw new Error('Option "' + this.title + '" contains an invalid input value.');
		if (now == null || now === '' || Array.isArray(now) && !now.length) {
			if (was != null)
				uci.unset(this.map.config, section, this.option);
		} else if (JSON.stringify(was) != JSON.stringify(now)) {
			uci.set(this.map.config, section, this.option, now);
		}
	}
});

const Value = AbstractOption.extend({
	widget(section) {
		return E('input', {
			'id': 'widget.' + this.id(section), 'class': 'cbi-input-text', 'type': this.password ? 'password' : 'text', 'autocomplete': 'off',
			'value': this.current(section), 'placeholder': this.placeholder, 'readonly': this.readonly ? '' : null,
			'input': e => this.judge(section, e.target, e.target.value)
		});
	},

	read(section) { return this.nodes[section].value; },
	valid(section) { return this.judge(section, this.nodes[section], this.read(section)); }
});

const ListValue = AbstractOption.extend({
	widget(section) {
		const now = this.current(section);

		return E('select', { 'id': 'widget.' + this.id(section), 'class': 'cbi-input-select' }, this.values.map(([ key, label ]) =>
			E('option', { 'value': key, 'selected': key === (now == null ? '' : now) ? '' : null }, [ label ])));
	},

	read(section) { return this.nodes[section].value; },
	valid() { return true; }
});

const Flag = AbstractOption.extend({
	enabled: '1', disabled: '0', default: '0',

	widget(section) {
		const now = this.current(section);

		return E('input', { 'id': 'widget.' + this.id(section), 'type': 'checkbox', 'checked': (now == null ? this.default : now) == this.enabled ? '' : null });
	},

	/* What is the default is not written. */
	read(section) {
		const v = this.nodes[section].checked ? this.enabled : this.disabled;

		return v == this.default ? '' : v;
	},
	valid() { return true; }
});

const DynamicList = AbstractOption.extend({
	widget(section) {
		const now = this.current(section), list = E('div', { 'id': this.id(section), 'class': 'cbi-dynlist' });
		const input = E('input', { 'type': 'text', 'class': 'cbi-input-text', 'placeholder': this.placeholder, 'aria-label': this.title, 'readonly': this.readonly ? '' : null });
		const item = value => E('div', { 'class': 'item' }, [
			E('span', {}, [ value ]), E('input', { 'type': 'hidden', 'value': value }),
			E('button', { 'class': 'btn', 'aria-label': 'Remove', 'click': e => e.currentTarget.parentNode.remove() }, [ '×' ])
		]);
		const add = () => {
			if (input.value === '' || !this.judge(section, input, input.value))
				return;
			list.insertBefore(item(input.value), input.parentNode);
			input.value = '';
		};

		input.addEventListener('input', () => this.judge(section, input, input.value));
		input.addEventListener('keydown', e => {
			if (e.key == 'Enter')
				add();
		});
		for (const v of now == null ? [] : Array.isArray(now) ? now : String(now).split(/\s+/))
			list.appendChild(item(v));
		list.appendChild(E('div', { 'class': 'add-item' }, [ input, E('button', { 'class': 'btn cbi-button-add', 'aria-label': 'Add', 'click': add }, [ '+' ]) ]));
		return list;
	},

	read(section) { return Array.from(this.nodes[section].querySelectorAll('input[type=hidden]')).map(i => i.value); },

	valid(section) {
		return Array.from(this.nodes[section].querySelectorAll('input[type=hidden]')).every(i => this.validate(section, i.value) === true);
	}
});

const AbstractSection = baseclass.extend({
	option(Kind, name, title) {
		const o = new Kind(this, name, title || name);

		this.children.push(o);
		return o;
	},

	parse() {
		for (const section of this.sections())
			for (const o of this.children)
				o.parse(section);
	},

	fields(section) {
		return E('div', { 'class': 'cbi-section-node', 'id': 'cbi-' + this.map.config + '-' + section, 'data-section-id': section }, this.children.map(o => o.render(section)));
	},

	frame(parts) {
		return E('div', { 'class': 'cbi-section', 'data-tab': this.sectiontype, 'data-tab-title': this.title }, [
			E('h3', {}, [ this.title ]), E('div', { 'class': 'cbi-section-descr' }, this.description || '')
		].concat(parts));
	}
});

const NamedSection = AbstractSection.extend({
	__init__(map, section, type, title, description) {
		Object.assign(this, { map, section, sectiontype: type, title, description, children: [] });
	},

	sections() { return uci.get(this.map.config, this.section) ? [ this.section ] : []; },
	render() { return this.frame(this.sections().map(s => this.fields(s))); }
});

const TypedSection = AbstractSection.extend({
	__init__(map, type, title, description) {
		Object.assign(this, { map, sectiontype: type, title, description, children: [] });
	},

	sections() { return uci.sections(this.map.config, this.sectiontype).map(s => s['.name']); },

	render() {
		const parts = [];

		for (const s of this.sections())
			parts.push(E('div', { 'class': 'cbi-section-remove right' }, [
				E('button', { 'class': 'btn cbi-button-remove', 'click': () => this.change(() => uci.remove(this.map.config, s)) }, [ 'Delete' ])
			]), E('h3', {}, [ this.anonymous ? '' : s ]), this.fields(s));
		if (this.addremove) {
			const name = E('input', { 'type': 'text', 'class': 'cbi-section-create-name', 'aria-label': 'Name' });

			parts.push(E('div', { 'class': 'cbi-section-create' }, (this.anonymous ? [] : [ name ]).concat(E('button', {
				'class': 'btn cbi-button-add', 'click': () => {
					if (this.anonymous || /^[A-Za-z0-9_]+$/.test(name.value))
						this.change(() => uci.add(this.map.config, this.sectiontype, this.anonymous ? null : name.value));
				}
			}, [ 'Add' ]))));
		}
		return this.frame(parts);
	},

	/* What was typed elsewhere stays. */
	change(run) {
		try {
			this.map.parseAll();
		} catch (e) {}
		run();
		this.map.show();
	}
});

const Map = baseclass.extend({
	__init__(config, title, description) {
		Object.assign(this, { config, title, description, children: [], shown: 0 });
	},

	section(Kind) {
		const s = new Kind(this, ...Array.prototype.slice.call(arguments, 1));

		this.children.push(s);
		return s;
	},

	parseAll() {
		for (const s of this.children)
			s.parse();
	},

	async save(before, silent) {
		try {
			this.parseAll();
			if (before)
				await before();
			await uci.save();
		} catch (e) {
			if (!silent)
				ui.showModal('Save error', [
					E('p', {}, [ 'An error occurred while saving the form:' ]),
					E('p', {}, [ E('em', { 'style': 'white-space:pre-wrap' }, [ e.message ]) ]),
					E('div', { 'class': 'right' }, [ E('button', { 'class': 'btn', 'click': () => ui.hideModal() }, [ 'Dismiss' ]) ])
				]);
			throw e;
		}
		this.show();
	},

	reset() { this.show(); },

	async render() {
		await uci.load(this.config);
		this.root = E('div', { 'class': 'cbi-map', 'id': 'cbi-' + this.config });
		this.root.map = this;
		this.show();
		return this.root;
	},

	show() {
		const sections = this.children.map(s => s.render()), parts = [];

		if (this.title)
			parts.push(E('h2', {}, [ this.title ]));
		if (this.description)
			parts.push(E('div', { 'class': 'cbi-map-descr' }, [ this.description ]));
		if (this.tabbed) {
			const tabs = sections.map((s, i) => E('li', { 'data-tab': s.getAttribute('data-tab') }, [
				E('a', { 'href': '#', 'click': e => {
					e.preventDefault();
					choose(this.shown = i);
				} }, [ s.getAttribute('data-tab-title') ])
			]));
			const choose = at => sections.forEach((s, i) => {
				s.hidden = i != at;
				tabs[i].className = i == at ? 'cbi-tab' : 'cbi-tab-disabled';
			});

			choose(this.shown);
			parts.push(E('ul', { 'class': 'cbi-tabmenu' }, tabs));
		}
		while (this.root.firstChild)
			this.root.removeChild(this.root.firstChild);
		for (const node of parts.concat(sections))
			this.root.appendChild(node);
	}
});

return baseclass.extend({ Map, NamedSection, TypedSection, Value, ListValue, Flag, DynamicList });
