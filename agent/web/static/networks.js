// LAN networks: what their clients get, and who they are.

import { again, session, watch } from './api.js';
import { apply } from './apply.js';
import { badge, card, field, h, number, replace, say, select, t, table } from './kit.js';

const modes = () => [
  ['names', t('Names'), t('Names below gnet.alt lead into the network; everything else is as before.')],
  ['all', t('Everything'), t('All traffic goes through anonymous circuits. What cannot is dropped, also while the agent does not run.')],
  ['off', t('Off'), t('Clients of this network use nothing of it.')],
];

// Why something was dropped, as agent/firewall counts it.
const reasons = { blocked: 'client is blocked', dns_over_tls: 'DNS past the router', quic: 'QUIC', ntp: 'time (NTP)', udp: 'other datagrams', icmp: 'ping and other ICMP', other_protocol: 'other protocols', forward: 'would have left in clear', virtual: 'not for a name that is known', mesh: 'mesh addresses' };

export function show(page, until) {
  const networks = h('div', { class: 'cards' });
  const rest = h('div', { class: 'cards' });
  page.append(networks, rest);
  let drawn = '';
  watch('lan', 3, until, (v) => {
    const same = JSON.stringify([v.off, v.networks]);
    if (same !== drawn) {
      drawn = same;
      replace(networks, v.off && h('p', { class: 'note', role: 'alert' }, t('The rules of the LAN are switched off until the next reload.')),
        v.networks.length ? v.networks.map((n) => network(n)) : card(t('No network'), h('p', null, t('No LAN uses GlobalNet yet. In Settings, add a section lan with its interfaces.'))));
    }
    if (v.clients) replace(rest, clients(v), blocked(v));
  }, (e) => replace(networks, h('p', { class: 'note' }, e.message)));

  function network(n) {
    const mode = modes().find(([m]) => m === n.mode) || [n.mode, n.mode, ''];
    const facts = n.interfaces && h('dl', { class: 'facts' }, [[t('Interfaces'), n.interfaces.join(', ')], [t('DNS comes here'), n.dns ? t('yes') : t('no')], [t('UDP travels'), n.udp ? t('yes') : t('no')],
      [t('Mesh addresses'), n.mesh ? t('yes') : t('no')]].map(([a, b]) => h('div', null, h('dt', null, a), h('dd', null, b))));
    if (!session.login) return card(n.name, h('p', { class: 'line' }, badge(n.mode === 'off' ? 'wait' : 'good', mode[1])), h('p', null, mode[2]), facts);
    const id = 'mode-' + n.name;
    const set = async (e) => {
      const to = e.target.value;
      try {
        await apply('lan/mode', { network: n.name, mode: to });
      } catch (err) {
        say(err.message, true);
      }
      drawn = '';
      networks.replaceChildren(); // the choice shows what holds, not what was clicked
      again('lan');
    };
    return card(n.name, h('fieldset', { class: 'choices' }, h('legend', null, t('What clients get')), modes().map(([m, title, text]) =>
      h('label', { class: 'choice' }, h('input', { type: 'radio', name: id, value: m, checked: m === n.mode, onchange: set, 'data-focus': id + m }), h('span', null, h('strong', null, title), h('span', { class: 'dim' }, text))))),
    facts, n.clients?.length > 0 && h('p', null, t('Clients with a mode of their own: {0}', n.clients.join(', '))), clientForm(n));
  }

  function clientForm(n) {
    const who = h('input', { type: 'text', autocomplete: 'off', spellcheck: 'false', placeholder: '192.168.1.20' });
    const what = select([['names', t('Names')], ['all', t('Everything')], ['off', t('Off')], ['block', t('Nothing at all')], ['', t('As the network')]], 'all');
    const submit = async (e) => {
      e.preventDefault();
      who.setWrong('');
      try {
        await apply('lan/mode', { network: n.name, client: who.value.trim(), mode: what.value });
        drawn = '';
        networks.replaceChildren();
      } catch (err) {
        who.setWrong(err.message);
      }
      again('lan');
    };
    return h('details', null, h('summary', null, t('A mode for one client')), h('form', { onsubmit: submit }, field(t('Client'), who, t('Its MAC or IP address.')), field(t('Mode'), what),
      h('div', { class: 'buttons' }, h('button', { type: 'submit' }, t('Apply')))));
  }

  function clients(v) {
    return card(t('Clients now'), table(t('Clients now'), [{ title: t('Address'), cell: (c) => h('span', { class: 'code' }, c.addr) }, { title: t('Connections'), number: true, cell: (c) => number(c.streams) }], v.clients, t('No client has a connection now.')),
      h('p', { class: 'dim' }, t('This list is kept in memory only, and names no destinations.')));
  }

  function blocked(v) {
    const list = Object.entries(v.blocked || {}).filter(([, n]) => n > 0).map(([why, n]) => ({ why, n })).sort((a, b) => b.n - a.n);
    return list.length > 0 && card(t('Stopped at the border'), table(t('Stopped at the border'), [{ title: t('Reason'), cell: (r) => t(reasons[r.why] || r.why) }, { title: t('Packets'), number: true, cell: (r) => number(r.n) }], list, ''));
  }
}
