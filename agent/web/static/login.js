// Who knows the password is the owner.

import { login, session } from './api.js';
import { field, h, t } from './kit.js';

export function loginView(why) {
  return {
    show(page) {
      const password = h('input', { type: 'password', name: 'password', autocomplete: 'current-password', required: true });
      const button = h('button', { class: 'main', type: 'submit' }, t('Log in'));
      const submit = async (e) => {
        e.preventDefault();
        button.disabled = true;
        password.setWrong('');
        try {
          await login(password.value);
        } catch (err) {
          password.setWrong(err.code === 'wrong_password' ? t('This is not the password.') : err.message);
          password.select();
        }
        button.disabled = false;
      };
      page.append(h('form', { class: 'card narrow', onsubmit: submit },
        why && h('p', { class: 'note', role: 'alert' }, why),
        !why && !session.readonly && h('p', { class: 'note' }, t('This router shows its status only to its owner.')),
        h('input', { class: 'unseen', type: 'text', name: 'username', value: 'owner', autocomplete: 'username', tabindex: '-1', 'aria-hidden': 'true', readonly: true }),
        field(t('Password'), password, t('Lost? `globalnet web password` on the router sets a new one.')),
        h('div', { class: 'buttons' }, button)));
      password.focus();
    },
  };
}
