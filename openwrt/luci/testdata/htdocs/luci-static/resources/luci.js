'use strict';

/*
 * A stand-in for LuCI's client side, for tests: the loader of modules, and as much of
 * its modules as the views here use, with the same names, element ids and traps. What
 * the views are written for is LuCI itself; the tests run them there too if it is found.
 */

window._ = s => s;
window.L = null;

String.prototype.format = function() {
	let i = 0;
	const args = arguments;

	return this.replace(/%([sd%])/g, (all, kind) => kind == '%' ? '%' : kind == 'd' ? String(Math.floor(+args[i++] || 0)) : String(args[i++]));
};

const modules = {};
const env = {};

/* Classes. */

function Class() {}

Class.extend = function(properties) {
	const Parent = this;

	function Made() {
		if (this.__init__)
			this.__init__.apply(this, arguments);
	}
	Made.prototype = Object.assign(Object.create(Parent.prototype), properties);
	Made.prototype.super = function(name, args) { return Parent.prototype[name].apply(this, args || []); };
	Made.extend = Class.extend;
	return Made;
};

/* The document. */

const dom = {
	elem: e => e != null && typeof e == 'object' && 'nodeType' in e,

	append(node, children) {
		if (Array.isArray(children)) {
			for (const child of children)
				node.appendChild(this.elem(child) ? child : document.createTextNode('' + child));
		} else if (typeof children == 'function') {
			this.append(node, children(node));
		} else if (this.elem(children)) {
			node.appendChild(children);
		} else if (children != null) {
			node.innerHTML = '' + children; // as LuCI does: a lone string is HTML
		}
	},

	content(node, children) {
		while (node.firstChild)
			node.removeChild(node.firstChild);
		this.append(node, children);
	},

	create(what, attributes, children) {
		if (!(attributes instanceof Object) || Array.isArray(attributes)) {
			children = attributes;
			attributes = null;
		}
		const node = Array.isArray(what) ? document.createDocumentFragment() : document.createElement(what);

		for (const name in attributes) {
			const value = attributes[name];

			if (value == null)
				continue;
			if (typeof value == 'function')
				node.addEventListener(name, value);
			else
				node.setAttribute(name, value);
		}
		this.append(node, children);
		return node;
	}
};
window.E = function() { return dom.create.apply(dom, arguments); };

/* Calls. */

let lastID = 0;

async function post(object, method, args) {
	const answer = await fetch(env.ubuspath, {
		method: 'POST', headers: { 'Content-Type': 'application/json' },
		body: JSON.stringify({ jsonrpc: '2.0', id: ++lastID, method: 'call', params: [ env.sessionid, object, method, args || {} ] })
	});
	const message = await answer.json();

	if (message.error)
		throw new Error('RPC call to ' + object + '/' + method + ' failed with error ' + message.error.code + ': ' + message.error.message);
	return message.result;
}

const rpc = {
	declare(o) {
		return function() {
			const args = {}, given = arguments;

			(o.params || []).forEach((name, i) => {
				if (given[i] !== undefined)
					args[name] = given[i];
			});
			return post(o.object, o.method, args).then(([ code, data ]) => {
				if (code != 0 && o.reject)
					throw new Error('RPC call to ' + o.object + '/' + o.method + ' failed with ubus code ' + code);
				return data;
			});
		};
	}
};

/* Configuration: what was loaded, and what the page has changed since. */

const uci = {
	values: {}, loaded: {}, changes: [], made: 0,

	load(config) {
		if (!this.loaded[config])
			this.loaded[config] = post('uci', 'get', { config }).then(([ code, data ]) => {
				if (code != 0)
					throw new Error('uci/get of ' + config + ' failed with ubus code ' + code);
				this.values[config] = data.values;
			});
		return this.loaded[config];
	},

	sections(config, type) {
		return Object.values(this.values[config] || {}).filter(s => !type || s['.type'] == type).sort((a, b) => a['.index'] - b['.index']);
	},

	get(config, section, option) {
		const s = (this.values[config] || {})[section];

		return option == null ? s || null : s ? s[option] : null;
	},

	add(config, type, name) {
		const section = name || 'new' + (++this.made), all = this.values[config] ||= {};

		all[section] = { '.type': type, '.name': section, '.anonymous': !name, '.index': Object.keys(all).length, '.new': true };
		return section;
	},

	set(config, section, option, value) {
		this.values[config][section][option] = value;
		this.changes.push({ config, section, option, value });
	},

	unset(config, section, option) {
		delete this.values[config][section][option];
		this.changes.push({ config, section, option });
	},

	remove(config, section) {
		const s = this.values[config][section];

		delete this.values[config][section];
		this.changes = this.changes.filter(c => c.section != section);
		if (!s['.new'])
			this.changes.push({ config, section });
	},

	async save() {
		const call = async (method, args) => {
			const [ code, data ] = await post('uci', method, args);

			if (code != 0)
				throw new Error('uci/' + method + ' failed with ubus code ' + code);
			return data;
		};

		for (const config in this.values) {
			for (const s of this.sections(config).filter(s => s['.new'])) {
				const values = {};

				for (const name in s)
					if (name[0] != '.')
						values[name] = s[name];
				await call('add', Object.assign({ config, type: s['.type'], values }, s['.anonymous'] ? {} : { name: s['.name'] }));
				this.changes = this.changes.filter(c => c.section != s['.name']);
			}
		}
		for (const c of this.changes) {
			if (c.option == null)
				await call('delete', { config: c.config, section: c.section });
			else if (c.value === undefined)
				await call('delete', { config: c.config, section: c.section, options: [ c.option ] });
			else
				await call('set', { config: c.config, section: c.section, values: { [c.option]: c.value } });
		}
		const all = Object.keys(this.values);

		this.changes = [];
		this.loaded = {};
		await Promise.all(all.map(config => this.load(config)));
	}
};

/* Things to be seen beside the page. */

let modal = null;

const ui = {
	showModal(title, children) {
		this.hideModal();
		modal = E('div', { 'id': 'modal_overlay' }, [ E('div', { 'class': 'modal', 'role': 'dialog', 'aria-modal': 'true' }, [ E('h4', {}, [ title ]) ].concat(children)) ]);
		document.body.appendChild(modal);
		document.body.classList.add('modal-overlay-active');
	},

	hideModal() {
		if (modal)
			modal.remove();
		modal = null;
		document.body.classList.remove('modal-overlay-active');
	},

	addNotification(title, children, kind) {
		const box = E('div', { 'class': 'alert-message fade-in ' + (kind || '') }, [ E('div', {}, [ children ]) ]);

		document.getElementById('maincontent').prepend(box);
		return box;
	},

	createHandlerFn(context, run) {
		const args = Array.prototype.slice.call(arguments, 2);

		if (typeof run == 'string')
			run = context[run];
		return function(event) {
			const button = event.currentTarget;

			button.disabled = true;
			button.classList.add('spinning');
			return Promise.resolve(run.apply(context, args.concat(event))).finally(() => {
				button.disabled = false;
				button.classList.remove('spinning');
			});
		};
	},

	changes: {
		async apply() {
			await fetch(env.scriptname + '/admin/uci/apply_rollback', { method: 'POST', body: new URLSearchParams({ sid: env.sessionid, token: env.token }) });
		}
	},

	instantiateView(path) {
		return L.require('view.' + path.replace(/\//g, '.'));
	}
};

/* Repeated questions. */

const poll = {
	queue: [], tick: 0,

	add(run, interval) {
		if (!this.queue.length)
			setInterval(() => {
				this.tick++;
				for (const entry of this.queue)
					if (this.tick % entry.interval == 0 && !entry.busy) {
						entry.busy = true;
						Promise.resolve(entry.run()).finally(() => { entry.busy = false; });
					}
			}, 1000);
		this.queue.push({ run, interval: interval || env.pollinterval });
	}
};

/* Pages. */

const shownMaps = () => Array.from(document.querySelectorAll('.cbi-map'), node => node.map);

const view = Class.extend({
	__init__() {
		const place = document.getElementById('view');

		Promise.resolve(this.load()).then(data => this.render(data)).then(nodes => {
			dom.content(place, nodes);
			place.appendChild(this.addFooter());
		}).catch(e => {
			console.error(e);
			dom.content(place, [ E('div', { 'class': 'alert-message danger' }, [ E('h2', {}, [ 'Error' ]), e.message ]) ]);
		});
	},

	load() {},
	render() {},

	handleSave() {
		return Promise.all(shownMaps().map(m => m.save()));
	},

	handleSaveApply(event) {
		return this.handleSave(event).then(() => ui.changes.apply(true));
	},

	handleReset() {
		return Promise.all(shownMaps().map(m => m.reset()));
	},

	addFooter() {
		const buttons = [];

		for (const [ handler, title, kind ] of [ [ 'handleSaveApply', 'Save & Apply', 'apply' ], [ 'handleSave', 'Save', 'save' ], [ 'handleReset', 'Reset', 'reset' ] ])
			if (this[handler])
				buttons.push(E('button', { 'class': 'btn cbi-button cbi-button-' + kind, 'click': ui.createHandlerFn(this, handler) }, [ title ]), ' ');
		return buttons.length ? E('div', { 'class': 'cbi-page-actions' }, buttons) : E([]);
	}
});

/* The rest of it. */

window.LuCI = function(given) {
	Object.assign(env, given);
	Object.assign(modules, { baseclass: Class, dom, rpc, uci, ui, poll, view });
	this.env = env;
	this.bind = (f, self, ...args) => f.bind(self, ...args);
	this.hasViewPermission = () => env.nodespec.satisfied ? !env.nodespec.readonly : null;
	this.require = name => modules[name] instanceof Promise ? modules[name] : name in modules ? Promise.resolve(modules[name]) : modules[name] = load(name);
};

async function load(name) {
	const url = env.resource + '/' + name.replace(/\./g, '/') + '.js', answer = await fetch(url);

	if (!answer.ok)
		throw new Error('no module ' + name);
	const source = await answer.text(), needed = [];

	for (const m of source.matchAll(/^'(use strict|require (\S+?)(?: as (\S+))?)';$/mg))
		if (m[2])
			needed.push({ name: m[2], as: m[3] || m[2].replace(/\W/g, '_') });
	const got = await Promise.all(needed.map(n => L.require(n.name)));
	const made = new Function('window', 'document', 'L', ...needed.map(n => n.as), source + '\n//# sourceURL=' + url)(window, document, L, ...got);

	if (typeof made != 'function' || !(made.prototype instanceof Class))
		throw new Error('module ' + name + ' does not return a class');
	return new made();
}
