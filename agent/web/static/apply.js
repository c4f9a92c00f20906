// A change that undoes itself unless this browser still reaches the router with it.

import { get, post } from './api.js';
import { dialog, h, say, t } from './kit.js';

const confirmSeconds = 60;

// apply makes a change by a POST that answers {id, confirm_seconds, restart}, and
// confirms it as soon as the router answers again. It reports whether it holds.
export async function apply(path, body) {
  let answer;
  let lost = false;
  try {
    answer = await post(path, { ...body, confirm_seconds: confirmSeconds }, 6);
  } catch (e) {
    if (e.status !== 0) throw e;
    // The change may have cut the very connection that its answer was to come by.
    lost = true;
    answer = { id: 'unknown', confirm_seconds: confirmSeconds };
  }
  if (!answer.id) return done(answer);
  let kept = false;
  await dialog(t('Is the router still there?'), (close) => {
    const left = h('strong');
    const end = Date.now() + answer.confirm_seconds * 1000;
    const count = () => { left.textContent = Math.max(0, Math.ceil((end - Date.now()) / 1000)) + ' s'; };
    count();
    const clock = setInterval(count, 500);
    const finish = (text) => { clearInterval(clock); if (text) say(text, true); close(); };
    const turn = async () => {
      try {
        // What hangs on an old connection is given up soon: the next try makes a new one.
        const waiting = lost ? (await get('config', 3)).pending : answer;
        if (waiting) {
          await post('config/confirm', { id: waiting.id }, 3);
          kept = true;
          finish();
        } else finish(t('The change did not reach the router.'));
      } catch (e) {
        if (Date.now() >= end || (e.status !== 0 && e.status !== 503)) {
          finish(e.status === 0 ? t('The router did not answer in time and has taken the change back.') : e.message);
        } else setTimeout(turn, 500);
      }
    };
    setTimeout(turn, lost ? 0 : 1200); // the change has time to bite
    return [h('p', null, t('The change is in use. This page sees whether it still reaches the router; if it does not, the router takes the change back in')), h('p', { class: 'count' }, left)];
  });
  return kept && done(answer);
}

function done(answer) {
  say(answer.restart?.length ? t('Saved. After a restart it holds too for: {0}.', answer.restart.join(', ')) : t('Saved.'));
  return true;
}
