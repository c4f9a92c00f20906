// The first run: a name, a password, a radio, and what the LAN gets.

import { session, setup } from './api.js';
import { field, h, say, select, t } from './kit.js';

export function show(page) {
  const name = h('input', { type: 'text', name: 'name', maxlength: 32, autocomplete: 'off', spellcheck: 'false', value: session.name || '' });
  const password = h('input', { type: 'password', name: 'password', autocomplete: 'new-password', minlength: 8, required: true });
  const repeat = h('input', { type: 'password', name: 'repeat', autocomplete: 'new-password', required: true });
  const radio = select([...session.radios.map((r) => [r, r]), ['', t('None: cables only')]], session.radios[0] || '', { name: 'radio' });
  const lan = select(session.lans.map((l) => [l.name, l.name]), session.lans[0]?.name, { name: 'lan' });
  const modes = [['names', t('Names'), t('Names below gnet.alt lead into the network; everything else is as before.')],
    ['all', t('Everything'), t('All traffic goes through anonymous circuits. What cannot is dropped, also while the agent does not run.')],
    ['off', t('Off'), t('Clients of this network use nothing of it.')]];
  const steps = [
    { title: t('Name'), about: t('What shall this router be called? Only you see this.'), fields: [field(t('Name'), name)], check: () => true },
    {
      title: t('Password'), about: t('Who has it may change everything on this page.'),
      fields: [h('input', { class: 'unseen', type: 'text', name: 'username', value: 'owner', autocomplete: 'username', tabindex: '-1', 'aria-hidden': 'true', readonly: true }), field(t('Password'), password, t('At least 8 characters. Four words are easy to keep and hard to guess.')), field(t('Once more'), repeat)],
      check: () => {
        const short = new TextEncoder().encode(password.value).length < 8;
        password.setWrong(short ? t('At least 8 characters.') : '');
        repeat.setWrong(!short && repeat.value !== password.value ? t('The two are not the same.') : '');
        return !short && repeat.value === password.value;
      },
    },
    session.radios.length > 0 && { title: t('Radio'), about: t('A radio that joins the mesh finds other routers in reach by itself.'), fields: [field(t('Radio'), radio)], check: () => true },
    session.lans.length > 0 && {
      title: t('Your network'), about: t('What do the phones and computers at home get? Each network can be changed later.'),
      fields: [session.lans.length > 1 && field(t('Network'), lan), h('fieldset', { class: 'choices' }, h('legend', { class: 'unseen' }, t('Mode')), modes.map(([m, title, text]) =>
        h('label', { class: 'choice' }, h('input', { type: 'radio', name: 'mode', value: m, checked: m === (session.lans[0].mode || 'names') }), h('span', null, h('strong', null, title), h('span', { class: 'dim' }, text)))))],
      check: () => true,
    },
  ].filter(Boolean);
  let at = 0;
  const wrong = h('p', { class: 'wrong', role: 'alert' });
  const progress = h('ol', { class: 'progress', 'aria-label': t('Steps') }, steps.map((s) => h('li', null, s.title)));
  const body = h('div');
  const back = h('button', { type: 'button', onclick: () => go(at - 1) }, t('Back'));
  const next = h('button', { type: 'submit', class: 'main' });
  const form = h('form', { class: 'card narrow wizard', novalidate: true, onsubmit: submit }, h('p', null, t('Welcome. A few questions, and this router is part of the network.')), progress, body, wrong, h('div', { class: 'buttons' }, back, next));
  const panels = steps.map((s) => h('div', null, h('h2', { tabindex: '-1' }, s.title), h('p', null, s.about), s.fields));
  body.append(...panels); // all stay in the form; one is seen
  page.append(form);
  go(0, true);

  function go(to, first) {
    at = to;
    panels.forEach((p, i) => { p.hidden = i !== at; });
    [...progress.children].forEach((li, i) => {
      if (i === at) li.setAttribute('aria-current', 'step');
      else li.removeAttribute('aria-current');
      li.classList.toggle('done', i < at);
    });
    back.hidden = at === 0;
    next.textContent = at === steps.length - 1 ? t('Finish') : t('Next');
    wrong.textContent = '';
    if (!first) (panels[at].querySelector('input:not(.unseen), select') || panels[at].firstChild).focus();
  }

  async function submit(e) {
    e.preventDefault();
    if (!steps[at].check()) return panels[at].querySelector('[aria-invalid=true]').focus();
    if (at < steps.length - 1) return go(at + 1);
    const answers = { password: password.value };
    if (name.value.trim()) answers.name = name.value.trim();
    if (session.radios.length && radio.value) answers.radio = radio.value;
    if (session.lans.length) {
      answers.lan = session.lans.length > 1 ? lan.value : session.lans[0].name;
      answers.lan_mode = form.elements.mode.value;
    }
    next.disabled = true;
    try {
      await setup(answers);
      say(t('Done. This is your router.'));
    } catch (err) {
      wrong.textContent = err.message;
      next.disabled = false;
    }
  }
}
