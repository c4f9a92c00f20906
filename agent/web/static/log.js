// What the agent said, the newest at the bottom.

import { get } from './api.js';
import { button, card, h, languageNow, number, say, select, t } from './kit.js';

const keep = 1000; // lines in the page
const levels = ['debug', 'info', 'warn', 'error'];

export function show(page, until) {
  const lines = h('ol');
  const box = h('div', { class: 'log', tabindex: '0', role: 'log', 'aria-label': t('Log'), 'aria-live': 'off' }, lines);
  const least = select(levels.map((l) => [l, t(l)]), 'debug', { 'aria-label': t('Least level'), onchange: filter });
  const find = h('input', { type: 'search', 'aria-label': t('Find in the log'), placeholder: t('Find'), oninput: filter });
  page.append(card(t('Log of the agent'), h('div', { class: 'bar' }, least, find, button(t('Save as a file'), save)), box));
  let last = 0;
  const shown = [];

  function matches(x) {
    return levels.indexOf(x.level) >= levels.indexOf(least.value) && x.text.toLowerCase().includes(find.value.trim().toLowerCase());
  }

  function filter() {
    for (const x of shown) x.el.hidden = !matches(x);
  }

  function add(line) {
    const attrs = Object.entries(line.attrs || {}).map(([k, v]) => `${k}=${typeof v === 'string' ? v : JSON.stringify(v)}`).join(' ');
    const time = new Date(line.time);
    const level = line.level.toLowerCase();
    const x = { level, text: `${line.time} ${level} ${line.message} ${attrs}` };
    x.el = h('li', { class: level }, h('time', { datetime: line.time }, time.toLocaleTimeString(languageNow())), h('span', { class: 'level' }, t(level)), h('span', null, line.message), attrs && h('span', { class: 'dim' }, attrs));
    x.el.hidden = !matches(x);
    shown.push(x);
    lines.append(x.el);
    if (shown.length > keep) shown.shift().el.remove();
  }

  function save() {
    const url = URL.createObjectURL(new Blob([shown.map((x) => x.text).join('\n') + '\n'], { type: 'text/plain' }));
    h('a', { href: url, download: 'globalnet.log' }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
    say(t('{0} lines saved.', number(shown.length)));
  }

  let timer;
  async function turn() {
    let more = false;
    try {
      if (!document.hidden) {
        const v = await get('log?after=' + last);
        if (until.aborted) return;
        if (v.last < last) last = 0; // the agent was started anew
        const bottom = box.scrollTop + box.clientHeight >= box.scrollHeight - 30;
        for (const line of v.lines) add(line);
        if (v.lines.length) {
          last = v.lines.at(-1).n;
          if (bottom) box.scrollTop = box.scrollHeight;
        }
        more = last < v.last && v.lines.length > 0;
      }
    } catch { /* the frame says that the router does not answer */ }
    if (!until.aborted) timer = setTimeout(turn, more ? 0 : 2000);
  }
  until.addEventListener('abort', () => clearTimeout(timer));
  turn();
}
