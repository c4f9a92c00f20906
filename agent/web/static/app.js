// The frame of the page: navigation, session, which view is shown.

import { begin, logout, session } from './api.js';
import { button, h, icon, languageMenu, say, speak, t } from './kit.js';
import * as overview from './overview.js';

// Views by their address, #/name. owner: guests do not see them.
const views = [
  { name: '', icon: 'overview', title: 'Overview', load: async () => overview },
  { name: 'map', icon: 'map', title: 'Map', load: () => import('./mapview.js') },
  { name: 'neighbours', icon: 'neighbours', title: 'Neighbours', load: () => import('./neighbours.js') },
  { name: 'circuits', icon: 'circuits', title: 'Circuits', load: () => import('./circuits.js') },
  { name: 'services', icon: 'services', title: 'Services', load: () => import('./services.js'), owner: true },
  { name: 'networks', icon: 'networks', title: 'Networks', load: () => import('./networks.js') },
  { name: 'exit', icon: 'exit', title: 'Internet sharing', load: () => import('./exit.js') },
  { name: 'log', icon: 'log', title: 'Log', load: () => import('./log.js'), owner: true },
  { name: 'settings', icon: 'settings', title: 'Settings', load: () => import('./settings.js'), owner: true },
];

const main = document.getElementById('main');
const bar = document.getElementById('bar');
let nav;
let ending; // AbortController of the view that is shown

function current() {
  const name = location.hash.replace(/^#\/?/, '').split('/')[0];
  return views.find((v) => v.name === name) || views[0];
}

function drawFrame() {
  nav?.remove();
  const open = h('button', { type: 'button', class: 'quiet menu', 'aria-expanded': 'false', 'aria-controls': 'nav', 'aria-label': t('Menu'), onclick: toggle }, icon('menu'));
  nav = h('nav', { id: 'nav', 'aria-label': t('Views') }, h('ul', null, views.filter((v) => session.login || !v.owner).map((v) =>
    h('li', null, h('a', { href: '#/' + v.name, onclick: () => toggle(false) }, icon(v.icon), t(v.title))))), languageMenu());
  const tools = h('div', { class: 'tools' },
    session.name && h('span', { class: 'router', title: session.node }, session.name),
    session.login && button(t('Log out'), () => logout().catch((e) => say(e.message, true)), { class: 'quiet' }),
    !session.login && !session.wizard && button(t('Log in'), showLogin, { class: 'main', id: 'login' }), open);
  bar.querySelector('.tools')?.remove();
  bar.append(tools);
  bar.after(nav);
  mark();
}

function toggle(to) {
  const show = typeof to === 'boolean' ? to : !nav.classList.contains('open');
  nav.classList.toggle('open', show);
  bar.querySelector('.menu').setAttribute('aria-expanded', String(show));
}

function mark() {
  const view = current();
  for (const a of nav.querySelectorAll('a')) {
    if (a.getAttribute('href') === '#/' + view.name) a.setAttribute('aria-current', 'page');
    else a.removeAttribute('aria-current');
  }
}

async function showLogin(why) {
  const { loginView } = await import('./login.js');
  show({ title: 'Log in', load: async () => loginView(typeof why === 'string' ? why : '') }, true);
}

// show ends the view that is there and draws another. The reader's place is the
// new heading, so that a screen reader says where it is.
async function show(view, moved) {
  ending?.abort();
  const mine = ending = new AbortController();
  let module;
  try {
    module = await view.load();
  } catch {
    say(t('The router does not answer.'), true);
    return;
  }
  if (mine.signal.aborted) return;
  const heading = h('h1', { tabindex: '-1' }, t(view.title));
  const page = h('div', { class: 'view in-' + (view.name || view.icon || 'form') });
  main.replaceChildren(heading, page);
  document.title = `${t(view.title)} · ${session.name || 'GlobalNet'}`;
  module.show(page, mine.signal);
  if (moved) {
    window.scrollTo(0, 0);
    heading.focus({ preventScroll: true });
  }
}

function route(moved) {
  if (!location.hash.startsWith('#/') && location.hash !== '') return; // the skip link
  mark();
  const view = current();
  if (session.wizard && view.name === '') return show({ title: 'Welcome', load: () => import('./wizard.js') }, moved);
  if (!session.login && (!session.readonly || view.owner)) return showLogin();
  return show(view, moved);
}

function sessionChanged(why) {
  drawFrame();
  if (why === 'expired') showLogin(t('Your session has ended. Log in again to go on.'));
  else route(true);
}

function onlineChanged(online) {
  document.getElementById('offline')?.remove();
  if (!online) bar.after(h('p', { id: 'offline', role: 'alert' }, t('The router does not answer. What you see is old; the page goes on trying.')));
}

async function start() {
  const said = speak();
  // Until the router answers, its status as it came with the page stays.
  for (;;) {
    try {
      await begin(sessionChanged, onlineChanged);
      break;
    } catch {
      onlineChanged(false);
      await new Promise((r) => setTimeout(r, 2000));
    }
  }
  await said;
  document.querySelector('.skip').textContent = t('Skip to content');
  drawFrame();
  window.addEventListener('hashchange', () => route(true));
  await route(false);
}

start();
