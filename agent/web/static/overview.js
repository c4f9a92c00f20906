// The first view: is it working, what is around, what is done for others.

import { get, nameOf, session, watch } from './api.js';
import { badge, card, h, icon, linkBadge, many, millis, number, quality, replace, states, t } from './kit.js';
import { Picture } from './map.js';

// judge answers "is it working?" as `globalnet status` does.
function judge(neighbours, nodes, status) {
  const up = neighbours.filter((n) => n.state === 'up').length;
  if (up) {
    const text = `${many(up, '{0} neighbour', '{0} neighbours')}, ${many(nodes, '{0} node in reach', '{0} nodes in reach')}.`;
    if (neighbours.every((n) => n.state !== 'up' || ['poor', 'down'].includes(quality(n.cost, n.class)))) {
      return { kind: 'wait', title: t('Working, but slowly'), text, next: t('All links are poor. Move the antenna, choose a quieter channel, or add a cable.') };
    }
    if (up === 1 && nodes > 1) return { kind: 'good', title: t('Working'), text, next: t('Everything goes through one neighbour. A second link would keep you connected if it fails.') };
    return { kind: 'good', title: t('Working'), text };
  }
  if (neighbours.length) {
    return {
      kind: 'wait', title: t('Connecting'), text: many(neighbours.length, 'A link to {0} neighbour is being made.', 'Links to {0} neighbours are being made.'),
      next: neighbours.some((n) => n.state === 'failed') ? t('A link failed: a firewall may block TCP 18245 and UDP 18245, 18250–18313.') : t('This takes a few seconds.'),
    };
  }
  if (status?.interfaces && !status.interfaces.some((i) => i.up)) {
    return { kind: 'bad', title: t('No interface'), text: t('There is no radio or cable to look for neighbours on.'), next: t('Plug a cable in, or give a radio to the mesh: Settings, radio.') };
  }
  return { kind: 'wait', title: t('Alone'), text: t('No neighbour has been found yet.'), next: t('Is another router in reach, on the same channel or cable, with the same network name and passphrase?') };
}

function verdict(v) {
  return h('section', { class: 'verdict ' + v.kind, 'aria-label': t('Status') }, icon(v.kind, 32),
    h('div', null, h('p', { class: 'word' }, v.title), h('p', null, v.text), v.next && h('p', { class: 'next' }, v.next)));
}

function tile(value, label, href) {
  return h('li', { class: 'tile' }, h('a', { href }, h('strong', null, value), h('span', null, label)));
}

export function show(page, until) {
  const now = { neighbours: null, map: null, onion: null, status: null };
  const top = h('div', { 'aria-live': 'polite' });
  const tiles = h('ul', { class: 'tiles' });
  const links = h('div');
  const canvas = h('canvas', { 'aria-hidden': 'true' });
  const picture = new Picture(canvas, until);
  page.append(top, tiles, h('div', { class: 'split' },
    card(t('Neighbourhood'), h('a', { class: 'picture small', href: '#/map', 'aria-label': t('Open the map') }, canvas)),
    card(t('Neighbours'), links)));
  let said = '';
  const draw = () => {
    if (!now.neighbours) return;
    const nodes = now.map ? now.map.nodes.filter((n) => !n.self && n.metric < 65535).length + (now.map.more || 0) : now.neighbours.length;
    const v = judge(now.neighbours, nodes, now.status);
    if (JSON.stringify(v) !== said) { // a screen reader hears it only when it changes
      said = JSON.stringify(v);
      replace(top, verdict(v));
    }
    const o = now.onion || {};
    replace(tiles,
      tile(number(now.neighbours.filter((n) => n.state === 'up').length), t('neighbours linked'), '#/neighbours'),
      tile(number(nodes), t('nodes in reach'), '#/map'),
      tile(number(o.carried || 0), t('circuits carried for others'), '#/circuits'),
      tile(o.exit ? t('yes') : t('no'), t('internet shared'), '#/exit'));
    replace(links, list(now.neighbours));
  };
  watch('neighbours', 3, until, (v) => {
    now.neighbours = v;
    if (!now.neighbours.length && !now.status && session.login) get('status').then((s) => { now.status = s; draw(); }, () => {});
    draw();
  });
  watch('map', 3, until, (v) => { now.map = v; picture.update(v, nameOf); draw(); });
  watch('onion', 5, until, (v) => { now.onion = v; draw(); });
}

// list is the neighbours at a glance, the best first.
function list(neighbours) {
  if (!neighbours.length) return h('p', { class: 'note' }, t('None yet.'));
  const sorted = [...neighbours].sort((a, b) => a.cost - b.cost).slice(0, 8);
  return h('ul', { class: 'rows' }, sorted.map((n) => h('li', null, h('a', { href: '#/neighbours/' + n.node, 'data-focus': n.node },
    h('span', { class: 'name' }, nameOf(n.node)), h('span', { class: 'dim' }, n.state === 'up' ? millis(n.rtt_ns) : ''),
    n.state === 'up' ? linkBadge(n.cost, n.class) : badge('wait', t(states[n.state] || n.state))))));
}
