// Hidden services of this router: what there is, a QR code of each, and a form to add one.

import { again, nameOf, post, watch } from './api.js';
import { age, ask, badge, button, card, field, h, many, number, replace, say, t } from './kit.js';
import { picture } from './qr.js';

export function show(page, until) {
  const list = h('div', { class: 'cards' });
  page.append(list, form());
  let open = new Set(); // names whose code is shown
  watch('services', 3, until, (all) => {
    replace(list, all.length ? all.map(one) : card(t('No service yet'), h('p', null,
      t('A service makes a web site, a folder or any program reachable for everybody in the network, and nobody learns where it is.'))));
  }, (e) => replace(list, h('p', { class: 'note' }, e.message)));

  function one(s) {
    const first = s.ports[0]?.port || 80;
    const link = `http://${s.address}.gnet.alt${first === 80 ? '' : ':' + first}/`.replace('.gnet.alt.gnet.alt', '.gnet.alt');
    const code = button(open.has(s.name) ? t('Hide the code') : t('QR code'), () => {
      if (!open.delete(s.name)) open.add(s.name);
      again('services');
    }, { 'data-focus': 'qr' + s.name, 'aria-expanded': String(open.has(s.name)) });
    const reach = s.error ? badge('bad', t('not reachable')) : s.stored > 0 ? badge('good', t('reachable')) : badge('wait', t('being published'));
    return card(s.name, h('p', { class: 'line' }, reach,
      s.restricted && badge('plain', t('only {0} with keys', many(s.allowed, '{0} client', '{0} clients'))), s.single_hop && badge('poor', t('not hidden: single hop'))),
    s.error && h('p', { class: 'wrong' }, s.error),
    s.address && h('p', { class: 'copy' }, h('a', { class: 'code', href: link }, link), button(t('Copy'), () => copy(link), { class: 'quiet', 'data-focus': 'copy' + s.name })),
    s.address && open.has(s.name) && picture(link, t('QR code of {0}', link)),
    h('dl', { class: 'facts' }, fact(t('Leads to'), s.ports.map((p) => h('div', null, `${p.port} → ${p.target}`))), fact(t('Clients now'), number(s.clients)), fact(t('Streams'), number(s.streams)),
      fact(t('Published'), s.published_ns < 0 ? t('never') : t('{0} ago', age(s.published_ns))), fact(t('Copies'), number(s.stored)), fact(t('Introduction points'), s.points.map(nameOf).join(', ') || '–')),
    h('div', { class: 'buttons' }, s.address && code, button(t('Remove'), () => remove(s.name), { 'data-focus': 'rm' + s.name, 'aria-label': t('Remove {0}', s.name) })));
  }

  async function remove(name) {
    if (!await ask(t('Remove {0}?', name), t('It will not be reachable any more. Its key stays on the router, so its address can come back.'), t('Remove'))) return;
    try {
      await post('services/remove', { name });
      say(t('{0} is removed.', name));
    } catch (e) {
      say(e.message, true);
    }
    again('services');
  }
}

const fact = (title, text) => h('div', null, h('dt', null, title), h('dd', null, text));

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // pages over plain HTTP have no clipboard
    const area = h('textarea', { class: 'unseen', value: text, 'aria-hidden': 'true' });
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  }
  say(t('Copied.'));
}

function form() {
  const name = h('input', { type: 'text', name: 'name', required: true, pattern: '[A-Za-z0-9_]{1,32}', autocomplete: 'off', spellcheck: 'false' });
  const port = h('input', { type: 'number', name: 'port', required: true, min: 1, max: 65535, value: '80' });
  const target = h('input', { type: 'text', name: 'target', required: true, autocomplete: 'off', spellcheck: 'false', placeholder: '127.0.0.1:8080' });
  const restricted = h('input', { type: 'checkbox', name: 'restricted' });
  const listing = h('input', { type: 'checkbox', name: 'listing' });
  const go = h('button', { class: 'main', type: 'submit' }, t('Add the service'));
  const wrong = h('p', { class: 'wrong', role: 'alert' });
  const inputs = [name, port, target];
  const messages = new Map([[name, t('1 to 32 letters, digits or _.')], [port, t('A port is a number from 1 to 65535.')], [target, t('Say where it leads: an address and port, or the path of a folder.')]]);
  const check = (i) => {
    const ok = i.checkValidity() && (i !== target || /^(\/.+|unix:\/.+|\[[0-9a-f:.]+\]:\d+|[^\s/:]+:\d{1,5})$/i.test(i.value));
    i.setWrong(ok ? '' : messages.get(i));
    return ok;
  };
  const submit = async (e) => {
    e.preventDefault();
    wrong.textContent = '';
    const bad = inputs.filter((i) => !check(i));
    if (bad.length) return bad[0].focus();
    go.disabled = true;
    try {
      await post('services/add', { name: name.value, ports: [{ port: Number(port.value), target: target.value }], restricted: restricted.checked, listing: listing.checked });
      say(t('{0} is added. It takes some seconds until it is reachable.', name.value));
      el.reset();
    } catch (err) {
      wrong.textContent = err.message;
    }
    go.disabled = false;
    again('services');
  };
  const el = h('form', { novalidate: true, onsubmit: submit },
    field(t('Name'), name, t('For you; others see only the address.')),
    field(t('Port'), port, t('What visitors connect to: 80 for a web site, 22 for ssh.')),
    field(t('Leads to'), target, t('An address and port such as 127.0.0.1:8080, or the path of a folder on the router such as /srv/www.')),
    field(t('List what is in folders that have no index.html'), listing), field(t('Only clients that have a key'), restricted), wrong,
    h('div', { class: 'buttons' }, go));
  // As it is typed, but not when a field is left: the form would move under the mouse.
  // A target is wrong until it is complete.
  for (const i of inputs) i.addEventListener('input', () => { if (i !== target || i.getAttribute('aria-invalid') === 'true') check(i); });
  return card(t('Add a service'), el);
}
