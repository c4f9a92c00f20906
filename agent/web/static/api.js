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
  hangUp();
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

// watch calls f with the answer to a path, now and whenever it changes or every so many
// seconds, while the page is seen. Watchers of a path share its requests. until is an
// AbortSignal.
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
    setTimeout(listen);
  });
  if (s.value !== undefined) f(s.value);
  setTimeout(() => { // when all of the view are there
    listen();
    turn(s);
  });
}

function take(s, value) {
  s.value = value;
  for (const w of s.watchers) w.f(value);
}

function refuse(s, e) {
  if (!(e instanceof Refused)) console.error(e);
  for (const w of s.watchers) w.failed?.(e);
}

async function turn(s, asked) {
  clearTimeout(s.timer);
  if (s.asking || !s.watchers.size) return;
  listen();
  if (asked || !document.hidden && !heard.includes(s.path)) {
    s.asking = true;
    try {
      take(s, await get(s.path));
    } catch (e) {
      refuse(s, e);
    }
    s.asking = false;
  }
  clearTimeout(s.timer);
  if (s.watchers.size) s.timer = setTimeout(turn, s.seconds * 1000, s);
}

// again asks at once, after something was changed.
export function again(path) {
  for (const s of sources.values()) if (!path || s.path === path) turn(s, true);
}

// The stream: a request that lasts and brings what is watched, while the page is seen.
// Where there is none, or it has ended, all is asked for, and a stream tried again later.
const answerSeconds = 4; // of the first event
const silenceSeconds = 15; // afterwards
const pauseSeconds = 20;
let stream;
let heard = []; // paths that the stream brings
let silence; // timer
let tryAt = 0;

function listen() {
  const want = document.hidden ? [] : [...sources.values()].filter((s) => s.watchers.size && !s.path.includes('?')).map((s) => s.path).sort();
  if (want.join() === heard.join() || (want.length && Date.now() < tryAt)) return;
  hangUp();
  if (!want.length || !window.EventSource) return;
  heard = want;
  stream = new EventSource('/v1/events?of=' + want.join());
  stream.onerror = lost;
  for (const path of want) stream.addEventListener(path, told);
  silence = setTimeout(lost, answerSeconds * 1000);
}

function told(e) {
  clearTimeout(silence);
  silence = setTimeout(lost, silenceSeconds * 1000);
  setOnline(true);
  const s = sources.get(e.type);
  const value = JSON.parse(e.data);
  if (!value.refused) return take(s, value);
  if (value.code === 'login') expired();
  refuse(s, new Refused(value.refused, value));
}

function hangUp() {
  stream?.close();
  clearTimeout(silence);
  stream = undefined;
  heard = [];
}

function lost() {
  hangUp();
  tryAt = Date.now() + pauseSeconds * 1000;
  expired(); // the router ends it with the session
  for (const s of sources.values()) turn(s);
}

function anew() {
  tryAt = 0;
  for (const s of sources.values()) turn(s);
}
document.addEventListener('visibilitychange', anew);
window.addEventListener('online', anew);
window.addEventListener('offline', lost);

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
