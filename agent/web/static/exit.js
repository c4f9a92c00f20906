// The exit policy: what others may reach of the internet through this router.

import { get, session, watch } from './api.js';
import { apply } from './apply.js';
import { badge, card, field, h, replace, say, t } from './kit.js';

const policies = () => [
  ['none', t('Nothing'), t('Others use this router only inside the network.')],
  ['web', t('Web'), t('Ports 80 and 443. What they do comes from your internet address.')],
  ['reduced', t('Common ports'), t('Web, mail reading, chat and more.')],
  ['all', t('Everything'), t('All but mail to servers. Expect complaints about others.')],
];

export function show(page, until) {
  const top = h('div');
  const rest = h('div');
  page.append(top, rest);
  watch('onion', 5, until, (o) => replace(top, card(t('Now'), h('p', { class: 'line' }, o.exit ? badge('good', t('shares the internet')) : badge('plain', t('shares no internet')), o.exit && h('span', { class: 'code' }, o.exit)),
    h('p', { class: 'dim' }, t('Private addresses, this router and its LAN are out of reach for others, whatever the policy.')))), (e) => replace(top, h('p', { class: 'note' }, e.message)));
  if (session.login) load();

  async function load() {
    let config;
    try {
      config = await get('config');
    } catch (e) {
      return say(e.message, true);
    }
    if (until.aborted) return;
    const own = config.sections.find((s) => s.type === 'exit');
    const now = (name, other) => own?.options[name]?.[0] ?? other;
    const policy = now('policy', 'none');
    const rules = h('textarea', { rows: 5, spellcheck: 'false', value: (own?.options.rule || []).join('\n') });
    const limit = (name) => h('input', { type: 'number', min: 0, step: 'any', value: now(name, '0') });
    const rate = limit('rate');
    const quota = limit('quota');
    const submit = async (e) => {
      e.preventDefault();
      const section = own?.ref || 'exit';
      const change = (option, value) => ({ section, type: 'exit', option, value });
      rules.setWrong('');
      const list = rules.value.split('\n').map((x) => x.trim()).filter(Boolean);
      const changes = [change('policy', form.elements.policy.value), change('rule', list.length ? list : null), change('rate', rate.value || '0'), change('quota', quota.value || '0')];
      try {
        await apply('config', { changes });
        load();
      } catch (err) {
        ({ 'exit.rule': rules, 'exit.rate': rate, 'exit.quota': quota }[err.option] || rules).setWrong(err.message);
      }
    };
    const form = h('form', { onsubmit: submit }, h('fieldset', { class: 'choices' }, h('legend', null, t('What others may reach')), policies().map(([name, title, text]) =>
      h('label', { class: 'choice' }, h('input', { type: 'radio', name: 'policy', value: name, checked: name === policy }), h('span', null, h('strong', null, title), h('span', { class: 'dim' }, text))))),
    field(t('Rules before the policy'), rules, t('One a line; the first that fits holds: accept *.example.org:443, reject 198.51.100.0/24:*')),
    field(t('At most, in Mbit/s; 0 is no limit'), rate), field(t('At most, in GB a month; 0 is no limit'), quota),
    h('div', { class: 'buttons' }, h('button', { type: 'submit', class: 'main', disabled: config.writable === false }, t('Apply'))));
    rest.replaceChildren(card(t('Policy'), form));
  }
}
