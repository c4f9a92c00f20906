// A change that undoes itself unless this browser still reaches the router with it.

import { get, post } from './api.js';
import { dialog, h, say, t } from './kit.js';

export const confirmSeconds = 60;

// apply makes a change by a POST that answers {id, confirm_seconds, restart}, and
// confirms it as soon as the router answers again. It reports whether it holds.
export async function apply(path, body) {
  const answer = await post(path, { ...body, confirm_seconds: confirmSeconds });
  if (!answer.id) return done(answer);
  let kept = false;
  await dialog(t('Is the router still there?'), (close) => {
    const left = h('strong');
    const end = Date.now() + answer.confirm_seconds * 1000;
    const count = () => { left.textContent = Math.max(0, Math.ceil((end - Date.now()) / 1000)) + ' s'; };
    count();
    const clock = setInterval(count, 500);
    const finish = (text, bad) => { clearInterval(clock); if (text) say(text, bad); close(); };
    const turn = async () => {
      try {
        // After the change had time to bite. What hangs on an old connection is given up
        // soon, so that the next try makes a new one.
        await get('session', 3);
        await post('config/confirm', { id: answer.id }, 5);
        kept = true;
        finish();
      } catch (e) {
        if (Date.now() >= end || (e.status !== 0 && e.status !== 503)) {
          finish(e.status === 0 ? t('The router did not answer in time and has taken the change back.') : e.message, true);
        } else setTimeout(turn, 1000);
      }
    };
    setTimeout(turn, 1200);
    return [h('p', null, t('The change is in use. This page sees whether it still reaches the router; if it does not, the router takes the change back in')), h('p', { class: 'count' }, left)];
  });
  return kept && done(answer);
}

function done(answer) {
  say(answer.restart?.length ? t('Saved. After a restart it holds too for: {0}.', answer.restart.join(', ')) : t('Saved.'));
  return true;
}
