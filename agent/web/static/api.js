// The router's API: requests, the session, and data that views watch.
// docs/protocols/web.md describes what is asked and answered.

import { t } from './kit.js';

// Refused is an answer that is no success: what happened and what to do.
export class Refused extends Error {
  constructor(status, body) {
    super([body.error || t('The router answered with status {0}.', status), body.hint].filter(Boolean).join('. '));
    this.status = status;
    this.code = body.code || '';
    this.option = body.option || ''; // what of a form is wrong
  }
}

async function request(method, path, body, seconds = 15) {
  const options = { signal: AbortSignal.timeout(seconds * 1000), method, headers: { Accept: 'application/json' }, credentials: 'same-origin', cache: 'no-store' };
  if (method !== 'GET') {
    options.headers['Content-Type'] = 'application/json';
    options.body = JSON.stringify(body ?? {});
  }
  let answer;
  let text;
  try {
    answer = await fetch('/v1/' + path, options);
    text = await answer.text();
  } catch {
    setOnline(false);
    throw new Refused(0, { code: 'offline', error: t('The router does not answer.') });
  }
  setOnline(true);
  let value = {};
  try { value = text ? JSON.parse(text) : {}; } catch { /* not of the API */ }
  if (answer.ok) return value;
  if (value.code === 'login') expired();
  throw new Refused(answer.status, value);
}

// A request is given up after some seconds, 15 if it is not said.
export const get = (path, seconds) => request('GET', path, undefined, seconds);
export const post = (path, body, seconds) => request('POST', path, body, seconds);

// The session, as GET /v1/session tells it.
export const session = {};
const know = (answer) => Object.assign(session, answer);
let changed = () => {};
let onlineChanged = () => {};
let online = true;

// begin takes the session that came with the page, or asks for it; onChange is told
// 'login', 'logout' or 'expired', onOnline whether the router answers.
export async function begin(onChange, onOnline) {
  changed = onChange;
  onlineChanged = onOnline;
  const { session: came } = document.getElementById('main').dataset;
  know(came ? JSON.parse(came) : await get('session'));
}

function setOnline(is) {
  if (is === online) return;
  online = is;
  onlineChanged(is);
}

// expired looks whether the router still knows us.
let looking = false;
async function expired() {
  if (looking || !session.login) return;
  looking = true;
  try {
    know(await get('session'));
  } catch { /* asked again with the next refusal */ }
  looking = false;
  if (!session.login) leave('expired');
}

function leave(why) {
  for (const s of sources.values()) delete s.value;
  changed(why);
}

export async function login(password) {
  know(await post('login', { password }));
  leave('login');
}

export async function setup(answers) {
  await post('setup', answers);
  know(await get('session'));
  leave('login');
}

export async function logout() {
  await post('logout');
  know(await get('session'));
  leave('logout');
}

// Sources by path: what was answered last, who watches it, how often it is asked for.
const sources = new Map();

// watch calls f with the answer to a path, now and every so many seconds while the
// page is seen. Watchers of a path share its requests. until is an AbortSignal.
export function watch(path, seconds, until, f, failed) {
  let s = sources.get(path);
  if (!s) sources.set(path, s = { path, seconds, watchers: new Set(), asking: false });
  const watcher = { f, failed };
  s.watchers.add(watcher);
  s.seconds = seconds;
  until.addEventListener('abort', () => {
    s.watchers.delete(watcher);
    if (s.watchers.size) return;
    clearTimeout(s.timer);
    if (path.includes('?')) sources.delete(path);
  });
  if (s.value !== undefined) f(s.value);
  turn(s);
}

async function turn(s) {
  clearTimeout(s.timer);
  if (s.asking) return;
  s.asking = true;
  try {
    if (!document.hidden) {
      const value = s.value = await get(s.path);
      for (const w of s.watchers) w.f(value);
    }
  } catch (e) {
    if (!(e instanceof Refused)) console.error(e);
    for (const w of s.watchers) w.failed?.(e);
  }
  s.asking = false;
  if (s.watchers.size) s.timer = setTimeout(turn, s.seconds * 1000, s);
}

// again asks at once: after something was changed, or the page came into sight.
export function again(path) {
  for (const s of sources.values()) if (s.watchers.size && (!path || s.path === path)) turn(s);
}
document.addEventListener('visibilitychange', () => { if (!document.hidden) again(); });

// nameOf is what a node is called here, or the start of its NodeID.
let names = new Map();
let namesOf;
export function nameOf(id) {
  const map = sources.get('map')?.value;
  if (namesOf !== map) {
    namesOf = map;
    names = new Map((map?.nodes || []).map((n) => [n.id, n.name || (n.self && session.name)]));
  }
  return names.get(id) || (id.includes(':') ? '…' + id.slice(-9) : id.slice(0, 8));
}
