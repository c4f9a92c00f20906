// Settings: forms made of what the router says its options are.

import { get } from './api.js';
import { apply } from './apply.js';
import { ask, button, field, h, helpIn, languageNow, many, replace, say, select, t } from './kit.js';

export function show(page, until) {
  const wanted = h('input', { type: 'search', 'aria-label': t('Find a setting'), placeholder: t('Find a setting'), oninput: find });
  const body = h('div', { class: 'settings' });
  const bar = h('div', { class: 'savebar', hidden: true });
  page.append(h('div', { class: 'bar' }, wanted), body, bar);
  let config;
  let said = {}; // help in another language
  let forms = [];
  load();

  async function load(open) {
    try {
      [config, said] = await Promise.all([get('config'), helpIn()]);
    } catch (e) {
      return replace(body, h('p', { class: 'note', role: 'alert' }, e.message));
    }
    if (until.aborted) return;
    forms = [];
    body.replaceChildren();
    replace(body, config.writable === false && h('p', { class: 'note' }, t('The configuration cannot be written by the agent: nothing can be changed here.')),
      config.pending && h('p', { class: 'note' }, t('A change waits to be confirmed; {0} s are left.', config.pending.seconds)), config.types.map((type) => group(type, open)));
    changed();
    find();
  }

  // help is the reader's, or the English text of reference.uci without what only counts for
  // who edits the file.
  function help(key, english) {
    if (said[key]) return { text: said[key], lang: languageNow() };
    return { text: (english || '').replace(/ ?\b(Live(, as all of this section)?|Repeat the line( for more[^.]*)?)\./g, '').trim(), lang: 'en' };
  }

  // group is a type of section: its sections, and a way to add one.
  function group(type, open) {
    const own = config.sections.filter((s) => s.type === type.type);
    if (!own.length && !type.many) own.push({ ref: type.name || type.type, type: type.type, name: type.name || type.type, options: {}, missing: true });
    const many_ = type.many && adder(type);
    const about = help(type.type, type.help);
    return h('details', { class: 'card group', open: open === type.type, 'data-type': type.type }, h('summary', null, h('h2', null, type.type), h('span', { class: 'dim', lang: about.lang }, about.text.split('. ')[0].replace(/\.$/, '')), type.many && h('span', { class: 'badge plain' }, many(own.length, '{0} section', '{0} sections'))),
      about.text && h('p', { class: 'help', lang: about.lang }, about.text), own.map((s) => section(type, s)), many_);
  }

  function section(type, s) {
    const fields = type.options.map((o) => optionField(o, help(`${type.type}.${o.name}`, o.help), s.options[o.name], changed));
    forms.push({ type, s, fields });
    const title = s.name || s.ref;
    return h('fieldset', { class: 'section' }, h('legend', null, type.many ? title : h('span', { class: 'unseen' }, title)), fields.map((f) => f.el),
      type.many && !s.missing && h('div', { class: 'buttons' }, button(t('Remove this section'), () => remove(s), { 'aria-label': t('Remove {0}', title) })));
  }

  function adder(type) {
    const name = h('input', { type: 'text', pattern: '[A-Za-z0-9_]+', autocomplete: 'off', spellcheck: 'false', required: true });
    const el = h('div');
    const submit = (e) => {
      e.preventDefault();
      if (!/^[A-Za-z0-9_]{1,32}$/.test(name.value)) return name.setWrong(t('1 to 32 letters, digits or _.'));
      if (config.sections.some((s) => s.name === name.value)) return name.setWrong(t('There is a section of this name.'));
      el.append(section(type, { ref: name.value, type: type.type, name: name.value, options: {}, missing: true }));
      el.lastChild.querySelector('input, select, textarea')?.focus();
      name.value = '';
    };
    return [el, h('form', { class: 'adder', novalidate: true, onsubmit: submit }, field(t('Name of a new section'), name), h('button', { type: 'submit' }, t('Add')))];
  }

  async function remove(s) {
    if (await ask(t('Remove {0}?', s.name || s.ref), t('Its options go back to what they are without it.'), t('Remove'))) send([{ section: s.ref, option: '', value: null }], s.type);
  }

  function changes() {
    return forms.flatMap(({ type, s, fields }) => fields.filter((f) => f.changed()).map((f) => ({ section: s.ref, type: type.type, option: f.name, value: f.value() })));
  }

  function changed() {
    const n = changes().length;
    bar.hidden = !n;
    replace(bar, h('span', null, many(n, '{0} change', '{0} changes')), button(t('Discard'), () => load()), button(t('Apply'), save, { class: 'main', disabled: config.writable === false }));
  }

  function save() {
    const bad = forms.flatMap((f) => f.fields).filter((f) => !f.check());
    if (bad.length) return bad[0].focus();
    send(changes(), body.querySelector('details[open]')?.dataset.type);
  }

  async function send(list, open) {
    try {
      await apply('config', { changes: list });
      await load(open);
    } catch (e) {
      const f = forms.flatMap(({ s, fields }) => fields.map((x) => ({ x, key: `${s.name || s.ref}.${x.name}`, other: `${s.type}.${x.name}` }))).find(({ key, other }) => key === e.option || other === e.option);
      if (f) {
        f.x.wrong(e.message);
        f.x.focus();
      } else say(e.message, true);
    }
  }

  function find() {
    const text = wanted.value.trim().toLowerCase();
    for (const d of body.querySelectorAll('details.group')) {
      let any = false;
      for (const f of d.querySelectorAll('.field')) {
        const hit = !text || f.textContent.toLowerCase().includes(text) || d.dataset.type.includes(text);
        f.hidden = !hit && !f.closest('.adder');
        any ||= hit;
      }
      d.hidden = !any;
      if (text) d.open = any;
    }
  }
}

// optionField is one option: it knows whether it was changed and whether it can be.
function optionField(o, about, values, changed) {
  const given = values !== undefined;
  const standard = (o.default || []).join(o.list ? '\n' : '');
  const start = given ? values.join(o.list ? '\n' : '') : '';
  const label = o.name;
  const hint = (o.example || []).join(', ') || standard;
  let control;
  if (o.secret) control = h('input', { type: 'password', autocomplete: 'new-password', placeholder: given ? t('set; write to replace it') : t('not set') });
  else if (o.list) control = h('textarea', { rows: Math.min(8, Math.max(2, start.split('\n').length + 1)), spellcheck: 'false', placeholder: hint.replaceAll(', ', '\n'), value: start });
  else if (o.kind === 'bool') control = h('input', { type: 'checkbox', checked: (given ? start : standard) === '1' });
  else if (o.kind === 'choice') control = select([...(given && !o.choices.includes(start) ? [[start, start]] : []), ...o.choices.map((c) => [c, c === standard ? t('{0} (default)', c) : c])], given ? start : standard);
  else control = h('input', { type: 'text', inputmode: o.kind === 'number' ? 'decimal' : null, spellcheck: 'false', autocomplete: 'off', placeholder: hint, value: start });

  const el = field(label, control, h('span', null, h('span', { lang: about.lang }, about.text), ' ', o.list && t('One a line.'), ' ', !o.live && h('span', { class: 'badge plain' }, t('after a restart'))));
  const first = read();
  let drop = false; // a secret that is to be removed
  if (o.secret && given) {
    el.append(button(t('Remove it'), () => { drop = true; control.placeholder = t('will be removed'); changed(); }, { class: 'quiet', 'aria-label': t('Remove {0}', label) }));
  }
  function read() { return control.type === 'checkbox' ? (control.checked ? '1' : '0') : control.value; }
  const check = () => {
    const v = read().trim();
    const parts = o.list ? v.split('\n') : [v];
    const ok = o.kind !== 'number' || v === '' || parts.every((p) => /^-?\d+(\.\d+)?$/.test(p.trim()));
    control.setWrong(ok ? '' : t('This must be a number.'));
    return ok;
  };
  control.addEventListener('input', () => { check(); changed(); });
  return {
    el, name: o.name, check,
    changed: () => drop || read() !== first,
    value: () => {
      const v = read();
      if (o.list) {
        const list = v.split('\n').map((x) => x.trim()).filter(Boolean);
        return list.length ? list : null;
      }
      return v.trim() === '' ? null : v;
    },
    wrong: (text) => control.setWrong(text),
    focus: () => { control.closest('details').open = true; control.focus(); },
  };
}
