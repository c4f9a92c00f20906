// This router's circuits, and, as totals only, what it carries for others.

import { again, nameOf, post, session, watch } from './api.js';
import { age, badge, button, bytes, card, h, millis, number, replace, say, t, table } from './kit.js';

const purposes = { general: 'for use', stub: 'ready', tunnel: 'by hand', service: 'service' };

export function show(page, until) {
  const carried = h('div');
  const own = h('div');
  page.append(carried);
  watch('onion', 3, until, (o) => {
    const fact = (title, text) => h('div', null, h('dt', null, title), h('dd', null, text));
    replace(carried, card(t('Carried for others'), h('p', null, o.relay ? t('This router relays inside the network. It cannot see who talks to whom, or what is said.') : t('This router does not relay for others. Settings, onion, relay changes that.')),
      h('dl', { class: 'facts' }, fact(t('Circuits of others'), number(o.carried || 0)), o.streams !== undefined && fact(t('Streams that end here'), number(o.streams)),
        fact(t('Channels'), number(o.channels || 0)), fact(t('Relays known'), number(o.relays || 0)), fact(t('Ways to the internet known'), number(o.exits || 0)))));
  }, (e) => replace(carried, card(t('Carried for others'), h('p', { class: 'note' }, e.message))));
  if (!session.login) return;
  page.append(own);
  const act = (path, body) => post(path, body).then(() => again('circuits'), (e) => say(e.message, true));
  const columns = [
    { title: t('Circuit'), cell: (c) => number(c.id) },
    { title: t('Path'), cell: (c) => h('ol', { class: 'path', 'aria-label': t('Path') }, c.path.map((id) => h('li', null, nameOf(id)))) },
    { title: t('Purpose'), cell: (c) => badge(c.closing ? 'poor' : c.used ? 'good' : 'wait', c.closing ? t('closing') : t(purposes[c.purpose] || c.purpose)) },
    { title: t('Streams'), number: true, cell: (c) => number(c.streams) },
    { title: t('Received'), number: true, cell: (c) => bytes(c.rx_bytes) },
    { title: t('Sent'), number: true, cell: (c) => bytes(c.tx_bytes) },
    { title: t('Round trip'), number: true, cell: (c) => millis(c.rtt_ns) },
    { title: t('Age'), number: true, cell: (c) => age(c.age_ns) },
    { title: '', cell: (c) => button(t('Close'), () => act('circuits/close', { id: c.id }), { class: 'quiet', 'data-focus': 'c' + c.id, 'aria-label': t('Close circuit {0}', c.id) }) },
  ];
  watch('circuits', 3, until, (v) => replace(own, card(t('Circuits of this router'),
    table(t('Circuits of this router'), columns, v, t('None is needed now.')),
    h('div', { class: 'buttons' }, button(t('New circuits for everything'), () => act('newnym', {}), { 'data-focus': 'newnym' })))),
  (e) => replace(own, card(t('Circuits of this router'), h('p', { class: 'note' }, e.message))));
  watch('map', 10, until, () => {});
}
