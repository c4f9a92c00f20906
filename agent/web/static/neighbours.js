// Neighbours, and what the links to them did in the last hour.

import { nameOf, session, watch } from './api.js';
import { age, badge, card, h, linkBadge, millis, number, rate, replace, states, t, table } from './kit.js';
import { chart } from './charts.js';

const classes = { radio: 'Radio', wire: 'Cable', internet: 'Internet', mesh: 'Through the mesh' };

export function show(page, until) {
  const list = h('div', { class: 'card' });
  const detail = h('div');
  page.append(list, detail);
  let chosen = location.hash.split('/')[2] || '';
  let end = new AbortController();
  until.addEventListener('abort', () => end.abort());

  const columns = [
    { title: t('Neighbour'), cell: (n) => h('a', { href: '#/neighbours/' + n.node, 'data-focus': n.node, 'aria-current': n.node === chosen && 'true' }, nameOf(n.node)) },
    { title: t('Over'), cell: (n) => t(classes[n.class] || n.class) },
    { title: t('Link'), cell: (n) => (n.state === 'up' ? linkBadge(n.cost, n.class) : badge(n.state === 'failed' ? 'bad' : 'wait', t(states[n.state] || n.state))) },
    { title: t('Loss'), number: true, cell: (n) => (n.loss >= 0 ? number(n.loss) + ' %' : '–') },
    { title: t('Cost'), number: true, cell: (n) => (n.cost >= 65535 ? '∞' : number(n.cost)) },
    { title: t('Round trip'), number: true, cell: (n) => millis(n.rtt_ns) },
    { title: t('For'), number: true, cell: (n) => age(n.since_ns) },
  ];

  let rows = [];
  const drawList = () => replace(list, table(t('Neighbours'), columns, rows, t('None yet.')));
  watch('map', 10, until, drawList); // for the names
  watch('neighbours', 3, until, (v) => {
    rows = [...v].sort((a, b) => a.cost - b.cost || a.node.localeCompare(b.node));
    drawList();
    if (!chosen && rows.length && session.login) open(rows[0].node);
  });
  function open(id) {
    chosen = id;
    end.abort();
    end = new AbortController();
    if (!session.login) {
      replace(detail, h('p', { class: 'note' }, t('Log in to see the history of a link.')));
      return;
    }
    watch('history?neighbour=' + encodeURIComponent(id), 10, end.signal, (v) => draw(id, v), (e) => replace(detail, h('p', { class: 'note' }, e.message)));
  }

  function draw(id, v) {
    const span = v.rx.length > 1 ? '−' + age(v.every_ns * (v.rx.length - 1)) : '';
    const percent = (x) => number(x, 1) + ' %';
    replace(detail, card(nameOf(id), h('p', { class: 'code' }, id), h('div', { class: 'charts' },
      chart(t('Rate'), [{ name: t('received'), values: v.rx, class: 'a' }, { name: t('sent'), values: v.tx, class: 'b' }], { format: rate, floor: 1250, span }),
      chart(t('Loss'), [{ values: v.loss, class: 'c' }], { format: percent, floor: 10, span }),
      chart(t('Round trip'), [{ values: v.rtt_us.map((x) => (x < 0 ? -1 : x / 1000)), class: 'a' }], { format: (x) => number(x, 1) + ' ms', floor: 1, span }))));
  }

  if (chosen) open(chosen);
}
