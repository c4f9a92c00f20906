// The map, and beside it the same as a table.

import { nameOf, watch } from './api.js';
import { button, card, h, linkBadge, many, millis, number, replace, t } from './kit.js';
import { Picture } from './map.js';

const kinds = { radio: 'Radio', wire: 'Cable', internet: 'Internet', mesh: 'Through the mesh', vouch: 'They say so' };

export function show(page, until) {
  let map;
  let wanted = '';
  const canvas = h('canvas', { role: 'img', tabindex: '0' });
  const picture = new Picture(canvas, until, { interactive: true, choose });
  const detail = h('div', { 'aria-live': 'polite' });
  const rows = h('tbody');
  const filter = h('input', { type: 'search', 'aria-label': t('Find a node'), placeholder: t('Find a node'), oninput: () => { wanted = filter.value.trim().toLowerCase(); drawTable(); } });
  const tool = (text, label, f) => button(text, f, { class: 'quiet', 'aria-label': label, title: label });
  page.append(h('div', { class: 'mapgrid' },
    h('section', { class: 'card picture', 'aria-label': t('Map') }, canvas,
      h('div', { class: 'zoom' }, tool('+', t('Zoom in'), () => picture.zoomBy(1.3)), tool('−', t('Zoom out'), () => picture.zoomBy(0.77)), tool('⤢', t('Show all'), () => picture.zoomBy(0))),
      legend()),
    h('div', { class: 'side' }, card(t('Chosen'), detail), card(t('Nodes'), filter,
      h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': t('Nodes') }, h('table', { class: 'plain' }, h('caption', { class: 'unseen' }, t('Nodes')),
        h('thead', null, h('tr', null, h('th', { scope: 'col' }, t('Node')), h('th', { scope: 'col', class: 'number' }, t('Metric')))), rows))))));

  function choose(id) {
    picture.select(id);
    drawTable();
    drawDetail();
  }

  function roles(n) {
    return [n.self && t('this router'), n.neighbour && t('neighbour'), n.exit && t('internet'), n.gateway && t('passes on'), n.relay && t('relay')].filter(Boolean).join(', ');
  }

  function drawTable() {
    const list = map.nodes.filter((n) => !wanted || nameOf(n.id).toLowerCase().includes(wanted) || n.id.startsWith(wanted));
    list.sort((a, b) => a.metric - b.metric || nameOf(a.id).localeCompare(nameOf(b.id)));
    replace(rows, list.map((n) => h('tr', { class: n.id === picture.chosen && 'chosen' },
      h('td', null, button(nameOf(n.id), () => choose(n.id === picture.chosen ? null : n.id), { class: 'link', 'aria-pressed': String(n.id === picture.chosen), 'data-focus': n.id }), h('div', { class: 'dim' }, roles(n))),
      h('td', { class: 'number' }, n.self ? '' : n.metric >= 65535 ? '∞' : number(n.metric)))));
  }

  function drawDetail() {
    const n = map.nodes.find((x) => x.id === picture.chosen);
    if (!n) return replace(detail, h('p', { class: 'note' }, t('Choose a node in the map or in the table to see the way to it.')));
    const links = map.links.filter((l) => l.a === n.id || l.b === n.id);
    replace(detail, h('p', { class: 'name' }, nameOf(n.id)), h('p', { class: 'code' }, n.id), h('dl', null,
      h('dt', null, t('What it does')), h('dd', null, roles(n) || '–'),
      !n.self && [h('dt', null, t('Way there')), h('dd', null, n.metric >= 65535 ? t('none') : n.via === n.id ? t('direct') : t('through {0}', nameOf(n.via)))]),
    links.length > 0 && h('ul', { class: 'rows' }, links.map((l) => {
      const other = l.a === n.id ? l.b : l.a;
      return h('li', null, button(nameOf(other), () => choose(other), { class: 'link name', 'data-focus': 'link' + other }), h('span', { class: 'dim' }, t(kinds[l.kind] || l.kind), l.rtt_ns > 0 && ' · ' + millis(l.rtt_ns), l.kind === 'vouch' && l.cost > 0 && ' · ' + t('cost {0} or more', number(l.cost))),
        l.kind !== 'vouch' && linkBadge(l.cost, l.kind));
    })),
    links.some((l) => l.kind === 'vouch') && h('p', { class: 'note' }, t('What others say of their links may be some time old. What such a link costs follows from the ways that the neighbours offer: no less than this, if it is still there.')));
  }

  watch('map', 2, until, (v) => {
    map = v;
    picture.update(v, nameOf);
    const up = v.nodes.filter((n) => n.metric < 65535).length;
    canvas.setAttribute('aria-label', t('Map: {0}, {1}. The table beside it says the same.', many(up, '{0} node', '{0} nodes'), many(v.links.length, '{0} link', '{0} links')));
    drawTable();
    drawDetail();
  });
}

function legend() {
  const line = (kind, text) => h('li', null, h('span', { class: 'line ' + kind, 'aria-hidden': 'true' }), text);
  const dot = (kind, text) => h('li', null, h('span', { class: 'dot ' + kind, 'aria-hidden': 'true' }), text);
  return h('details', { class: 'legend' }, h('summary', null, t('What the signs mean')), h('ul', null,
    dot('self', t('this router')), dot('near', t('neighbour')), dot('', t('further away')), dot('exit', t('leads to the internet')),
    line('good', t('good link')), line('fair', t('fair link')), line('poor', t('poor link')), line('far', t('over the internet')), line('faint', t('link of others')), line('way', t('way to the chosen node'))));
}
