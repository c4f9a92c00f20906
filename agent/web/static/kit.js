// What every view is made with: elements, words, numbers.
// Data only ever becomes text nodes and attributes, never markup.

const SVG = 'http://www.w3.org/2000/svg';

// h makes an element: h('p', {class: 'note'}, 'text', child). A property that is
// false or null is left out; a function under on… is a listener.
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

// s is h for SVG.
export function s(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(el, props, children) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === false || value == null) continue;
    if (typeof value === 'function') el.addEventListener(name.slice(2), value);
    else if (name === 'value') el.defaultValue === undefined ? el.value = value : el.defaultValue = value;
    else el.setAttribute(name, value === true ? '' : value);
  }
  el.append(...children.flat(3).filter((c) => c != null && c !== false));
  return el;
}

// Words. The English text is the key; another language is a table of its own,
// loaded only when it is wanted.
const languages = { en: 'English', es: 'Español' };
let words = {};
let language = 'en';
export const languageNow = () => language;

// helpIn returns the help of sections and options in the reader's language, as far as the
// page has it: the router itself has it in English.
export async function helpIn() {
  return language === 'es' ? (await import('./es-help.js')).default : {};
}

export async function speak() {
  let wanted = navigator.language.slice(0, 2);
  try { wanted = localStorage.getItem('language') || wanted; } catch { /* storage is off */ }
  if (wanted !== 'es') return;
  words = (await import('./es.js')).default;
  language = wanted;
  document.documentElement.lang = wanted;
}

// languageMenu lets the reader choose; the page starts anew in the other language.
export function languageMenu() {
  const choose = (e) => {
    try { localStorage.setItem('language', e.target.value); } catch { /* storage is off */ }
    location.reload();
  };
  return h('select', { class: 'quiet', 'aria-label': t('Language'), onchange: choose, value: language },
    Object.entries(languages).map(([code, name]) => h('option', { value: code, lang: code, selected: code === language }, name)));
}

// t translates; {0}, {1} … are the values.
export function t(text, ...values) {
  return (words[text] ?? text).replace(/\{(\d)\}/g, (_, i) => values[i]);
}

// many translates one of two texts, by the number.
export function many(n, singular, plural) { return t(n === 1 ? singular : plural, number(n)); }

export function number(n, digits = 0) {
  return new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(n);
}

// bytes: 1.2 MB; units of 1000.
export function bytes(n) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let i = 0;
  for (; n >= 1000 && i < units.length - 1; i++) n /= 1000;
  return number(n, n < 10 && i > 0 ? 1 : 0) + ' ' + units[i];
}

// rate of bytes a second, as bits a second.
export function rate(n) {
  const units = ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s'];
  let i = 0;
  for (n *= 8; n >= 1000 && i < units.length - 1; i++) n /= 1000;
  return number(n, n < 10 && i > 0 ? 1 : 0) + ' ' + units[i];
}

export function millis(ns) { return ns > 0 ? number(ns / 1e6, ns < 1e7 ? 1 : 0) + ' ms' : '–'; }

// age: the two largest units.
export function age(ns) {
  if (ns < 0) return t('never');
  const sec = Math.floor(ns / 1e9);
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']]
    .map(([size, unit], i, all) => [Math.floor((i ? sec % all[i - 1][0] : sec) / size), unit]);
  const first = parts.findIndex(([n]) => n > 0);
  return (first < 0 ? [[0, 's']] : parts.slice(first, first + 2).filter(([n]) => n > 0)).map(([n, u]) => `${n} ${u}`).join(' ');
}

// quality of a link by its Babel cost, against what a perfect one of its kind costs.
export function quality(cost, kind) {
  if (cost >= 65535) return 'down';
  const times = cost / ({ wire: 96, radio: 128 }[kind] || 1024);
  return times <= 1.5 ? 'good' : times <= 3 ? 'fair' : 'poor';
}

// What a link does, as mesh.Neighbour says it.
export const states = { connecting: 'connecting', up: 'up', failed: 'failed' };

export const qualities = { good: 'good', fair: 'fair', poor: 'poor', down: 'down' };

// linkBadge says how good a link is.
export function linkBadge(cost, kind) {
  const q = quality(cost, kind);
  return badge(q, t(qualities[q]));
}

// badge is a word with a coloured mark; the word alone says it all.
export function badge(kind, text) { return h('span', { class: 'badge ' + kind }, text); }

const icons = {
  overview: 'M4 11 12 4l8 7v9h-5v-6H9v6H4z',
  map: 'M12 5 5 18h14zM12 5v8M5 18l7-5 7 5',
  neighbours: 'M4 10a11 11 0 0 1 16 0M7 13.5a7 7 0 0 1 10 0M10 17a3 3 0 0 1 4 0',
  circuits: 'M4 12a3 3 0 1 0 6 0 3 3 0 1 0-6 0M14 12a3 3 0 1 0 6 0 3 3 0 1 0-6 0M10 12h4',
  services: 'M4 5h16v6H4zM4 13h16v6H4zM7.5 8h.01M7.5 16h.01',
  networks: 'M9 4h6v5H9zM3 15h6v5H3zM15 15h6v5h-6zM12 9v3M6 15v-3h12v3',
  exit: 'M14 4H5v16h9M10 12h11M17 8l4 4-4 4',
  log: 'M5 6h14M5 12h14M5 18h9',
  settings: 'M4 7h10M18 7h2M4 17h2M10 17h10M14 7a2 2 0 1 0 4 0 2 2 0 1 0-4 0M6 17a2 2 0 1 0 4 0 2 2 0 1 0-4 0',
  menu: 'M4 7h16M4 12h16M4 17h16',
  good: 'M5 12.5 10 17l9-10',
  wait: 'M12 7v5l3 2M4 12a8 8 0 1 0 16 0 8 8 0 1 0-16 0',
  bad: 'M12 8v5M12 16.5v.01M12 3 2 20h20z',
};

export function icon(name, size = 20) {
  return s('svg', { viewBox: '0 0 24 24', width: size, height: size, class: 'icon', 'aria-hidden': 'true' }, s('path', { d: icons[name] }));
}

// card is a section with a heading.
export function card(title, ...children) {
  return h('section', { class: 'card', 'aria-label': title }, h('h2', null, title), children);
}

// table of columns [{title, cell(row), number}]. On a phone each row becomes a block,
// so the roles are said: the layout would take them away.
export function table(caption, columns, rows, empty) {
  if (!rows.length) return h('p', { class: 'note' }, empty);
  return h('table', { role: 'table' }, h('caption', { class: 'unseen' }, caption),
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, columns.map((c) => h('th', { role: 'columnheader', scope: 'col', class: c.number && 'number' }, c.title)))),
    h('tbody', { role: 'rowgroup' }, rows.map((row) => h('tr', { role: 'row', 'data-key': row.key },
      columns.map((c) => h('td', { role: 'cell', 'data-label': c.title, class: c.number && 'number' }, c.cell(row)))))));
}

// replace puts new content in place, and the keyboard's focus back where it was. What
// looks the same stays: a selection, and the place of a screen reader in it.
export function replace(el, ...children) {
  const next = h('div', null, children);
  if (next.childNodes.length === el.childNodes.length && [...next.childNodes].every((c, i) => c.isEqualNode(el.childNodes[i]))) return;
  const at = document.activeElement;
  const mark = el.contains(at) && at.dataset.focus;
  el.replaceChildren(...next.childNodes);
  if (mark) el.querySelector(`[data-focus="${CSS.escape(mark)}"]`)?.focus();
}

export function button(text, onclick, props) { return h('button', { type: 'button', ...props, onclick }, text); }

// field is a labelled control with help and room for what is wrong with it.
let fields = 0;
export function field(label, control, help) {
  const id = control.id || (control.id = 'f' + ++fields);
  const wrong = h('p', { class: 'wrong', id: id + 'e' });
  control.setAttribute('aria-describedby', (help ? id + 'h ' : '') + id + 'e');
  control.setWrong = (text) => {
    wrong.textContent = text || '';
    control.setAttribute('aria-invalid', text ? 'true' : 'false');
  };
  const check = control.type === 'checkbox';
  return h('div', { class: 'field' + (check ? ' check' : '') },
    check && control, h('label', { for: id }, label), !check && control,
    help && h('p', { class: 'help', id: id + 'h' }, help), wrong);
}

export function select(options, value, props) {
  return h('select', props, options.map(([v, text]) => h('option', { value: v, selected: v === value }, text)));
}

// say tells of something for some seconds; errors stay until they are closed.
export function say(text, bad) {
  const note = h('div', { class: 'toast' + (bad ? ' bad' : '') }, h('p', null, text),
    button('×', () => note.remove(), { 'aria-label': t('Close') }));
  document.getElementById('toasts').append(note);
  if (!bad) setTimeout(() => note.remove(), 5000);
}

// dialog shows a modal and resolves with what close was given.
export function dialog(title, build) {
  return new Promise((resolve) => {
    const opener = document.activeElement;
    const d = h('dialog', { 'aria-label': title });
    let result;
    const close = (value) => { result = value; d.close(); };
    d.append(h('h2', null, title), ...[build(close)].flat());
    d.addEventListener('close', () => { d.remove(); opener?.focus?.(); resolve(result); });
    document.body.append(d);
    d.showModal();
  });
}

export function ask(title, text, yes) {
  return dialog(title, (close) => [h('p', null, text), h('div', { class: 'buttons' },
    button(t('Cancel'), () => close(false)), button(yes, () => close(true), { class: 'main' }))]);
}
