// The neighbourhood as a picture: a layout by forces, drawn on a canvas.
// Nodes push each other away, links pull, and everything settles; then nothing is
// computed or drawn until something changes.

import { quality } from './kit.js';

const still = matchMedia('(prefers-reduced-motion: reduce)');
const dark = matchMedia('(prefers-color-scheme: dark)');

// Layout: positions of nodes under forces, without any drawing.
class Layout {
  nodes = [];
  links = [];
  heat = 0; // 1 after a change, falling; below cold it rests

  // update takes the nodes and links of GET /v1/map. Who was there keeps its place;
  // a newcomer begins beside a neighbour.
  update(map) {
    const old = new Map(this.nodes.map((n) => [n.id, n]));
    const before = this.shape;
    const byID = new Map();
    this.nodes = map.nodes.map((n, i) => {
      const was = old.get(n.id);
      const node = Object.assign(was || { x: NaN, y: NaN, vx: 0, vy: 0 }, n, { degree: 0, near: null, order: i });
      byID.set(n.id, node);
      return node;
    });
    this.links = [];
    for (const l of map.links) {
      const a = byID.get(l.a);
      const b = byID.get(l.b);
      if (!a || !b) continue;
      a.degree++;
      b.degree++;
      a.near ??= b;
      b.near ??= a;
      this.links.push({ a, b, kind: l.kind, cost: l.cost, rtt: l.rtt_ns, down: l.cost >= 65535 });
    }
    // A node of which only the way there is known hangs on the neighbour that leads to it.
    for (const n of this.nodes) {
      const via = byID.get(n.via);
      if (n.degree || n.self || !via || via === n) continue;
      n.degree++;
      n.near = via;
      this.links.push({ a: via, b: n, kind: 'route', cost: 0, rtt: 0, down: false });
    }
    // Sunflower spiral: nobody begins on top of another.
    for (const n of this.nodes) {
      if (!Number.isNaN(n.x)) continue;
      const turn = n.order * 2.4;
      const from = n.near && !Number.isNaN(n.near.x) ? n.near : { x: 0, y: 0 };
      const far = from === n.near ? 25 : 14 * Math.sqrt(n.order);
      n.x = from.x + far * Math.cos(turn);
      n.y = from.y + far * Math.sin(turn);
    }
    // A link that fails moves less than one that comes or goes: it may be back soon.
    this.shape = this.nodes.map((n) => n.id).join() + this.links.map((l) => l.a.order + '-' + l.b.order).join();
    const down = this.links.filter((l) => l.down).map((l) => l.a.order + '-' + l.b.order).join();
    if (this.shape !== before) this.heat = Math.max(this.heat, before ? 0.35 : 1);
    else if (down !== this.down) this.heat = Math.max(this.heat, 0.12);
    this.down = down;
  }

  get moving() { return this.heat > 0.004; }

  tick() {
    const { nodes, links } = this;
    const heat = this.heat *= 0.975;
    for (let i = 0; i < nodes.length; i++) {
      const a = nodes[i];
      for (let j = i + 1; j < nodes.length; j++) {
        const b = nodes[j];
        const dx = b.x - a.x;
        const dy = b.y - a.y;
        const d2 = dx * dx + dy * dy + 1;
        if (d2 > 160000) continue;
        const f = heat * 900 / d2;
        a.vx -= dx * f;
        a.vy -= dy * f;
        b.vx += dx * f;
        b.vy += dy * f;
      }
      const pull = heat * (a.self ? 0.08 : 0.022);
      a.vx -= a.x * pull;
      a.vy -= a.y * pull;
    }
    for (const l of links) {
      if (l.down) continue;
      const dx = l.b.x - l.a.x;
      const dy = l.b.y - l.a.y;
      const d = Math.hypot(dx, dy) || 1;
      const length = l.kind === 'internet' ? 110 : 55;
      const f = heat * (d - length) / d * 0.7 / Math.min(l.a.degree, l.b.degree);
      const share = l.a.degree / (l.a.degree + l.b.degree);
      l.a.vx += dx * f * (1 - share);
      l.a.vy += dy * f * (1 - share);
      l.b.vx -= dx * f * share;
      l.b.vy -= dy * f * share;
    }
    for (const n of nodes) {
      n.vx *= 0.6;
      n.vy *= 0.6;
      n.x += Math.max(-30, Math.min(30, n.vx));
      n.y += Math.max(-30, Math.min(30, n.vy));
    }
  }

  // path leads from this node to another: to the neighbour that the route goes through,
  // and from there the cheapest way over links that are known.
  path(to) {
    const self = this.nodes.find((n) => n.self);
    const via = this.nodes.find((n) => n.id === to?.via);
    if (!self || !to || to === self || !via) return [];
    const edges = new Map();
    for (const l of this.links) {
      if (l.down || l.a === self || l.b === self) continue;
      for (const [x, y] of [[l.a, l.b], [l.b, l.a]]) edges.set(x, [...edges.get(x) || [], [y, Math.max(l.cost, l.kind === 'vouch' ? 128 : 1)]]);
    }
    const cost = new Map([[via, 0]]);
    const from = new Map();
    const open = new Set([via]);
    while (open.size) {
      const next = [...open].reduce((a, b) => (cost.get(b) < cost.get(a) ? b : a));
      if (next === to) break;
      open.delete(next);
      for (const [y, c] of edges.get(next) || []) {
        const sum = cost.get(next) + c;
        if (sum >= (cost.get(y) ?? Infinity)) continue;
        cost.set(y, sum);
        from.set(y, next);
        open.add(y);
      }
    }
    const hops = [];
    for (let n = to; n && n !== via; n = from.get(n)) hops.push([from.get(n) || via, n]);
    return [[self, via], ...hops.reverse()];
  }
}

// Picture draws a Layout. With interactive it can be moved, zoomed and chosen from;
// choose is called with the chosen node's id.
export class Picture {
  layout = new Layout();
  chosen = null;
  hover = null;
  zoom = null; // {x, y, k} once the reader moved the picture; else all is shown
  view = { x: 0, y: 0, k: 1 };
  widths = new Map();

  constructor(canvas, until, { interactive, choose } = {}) {
    this.canvas = canvas;
    this.pen = canvas.getContext('2d');
    this.choose = choose;
    const resized = new ResizeObserver(() => this.resize());
    resized.observe(canvas);
    const recolour = () => { this.colours = null; this.wake(); };
    dark.addEventListener('change', recolour, { signal: until });
    until.addEventListener('abort', () => { resized.disconnect(); cancelAnimationFrame(this.frame); this.ended = true; });
    if (interactive) this.listen(until);
  }

  update(map, nameOf) {
    this.layout.update(map);
    for (const n of this.layout.nodes) n.label = nameOf(n.id);
    const byVia = new Map();
    for (const n of this.layout.nodes) if (n.via && n.metric < 65535) byVia.set(n.via, (byVia.get(n.via) || 0) + 1);
    for (const n of this.layout.nodes) n.carries = byVia.get(n.id) || 0;
    const weight = (n) => (n.self ? 1e5 : 0) + (n.exit ? 3e3 : 0) + (n.neighbour ? 2e3 : 0) + n.carries * 10 + n.degree;
    this.important = [...this.layout.nodes].sort((a, b) => weight(b) - weight(a) || a.order - b.order);
    this.wake();
  }

  select(id) {
    this.chosen = id;
    this.wake();
  }

  resize() {
    const { width, height } = this.canvas.getBoundingClientRect();
    const scale = Math.min(2, devicePixelRatio || 1);
    this.width = width;
    this.height = height;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    this.scale = scale;
    if (width) this.paint();
  }

  wake() {
    if (!this.frame && !this.ended) this.frame = requestAnimationFrame(() => this.turn());
  }

  turn() {
    this.frame = 0;
    const l = this.layout;
    if (still.matches) {
      // Settle without showing how, and without keeping the page busy for long.
      for (const end = performance.now() + 30; l.moving && performance.now() < end;) l.tick();
      if (l.moving) return this.wake();
    } else if (l.moving) {
      l.tick();
      if (l.heat > 0.5) l.tick();
    }
    const sliding = this.paint();
    if (l.moving || sliding) this.wake();
  }

  // aim moves the view towards what shows all nodes; it reports whether it still moves.
  aim() {
    let want = this.zoom;
    if (!want) {
      let [x0, y0, x1, y1] = [Infinity, Infinity, -Infinity, -Infinity];
      for (const n of this.layout.nodes) {
        x0 = Math.min(x0, n.x);
        y0 = Math.min(y0, n.y);
        x1 = Math.max(x1, n.x);
        y1 = Math.max(y1, n.y);
      }
      const k = Math.min(2, (this.width - 80) / (x1 - x0 || 1), (this.height - (this.choose ? 110 : 60)) / (y1 - y0 || 1));
      want = { x: (x0 + x1) / 2, y: (y0 + y1) / 2, k: Math.max(k, 0.05) };
    }
    const v = this.view;
    const step = this.aimed && !still.matches && !this.zoom ? 0.12 : 1;
    const gap = Math.abs(want.k - v.k) / v.k * 200 + Math.abs(want.x - v.x) + Math.abs(want.y - v.y);
    this.aimed = true;
    for (const key of ['x', 'y', 'k']) v[key] += (want[key] - v[key]) * step;
    return step < 1 && gap > 0.5;
  }

  at(n) {
    const { x, y, k } = this.view;
    return [(n.x - x) * k + this.width / 2, (n.y - y) * k + this.height / 2];
  }

  palette() {
    if (!this.colours) {
      const style = getComputedStyle(this.canvas);
      this.colours = new Proxy({}, { get: (c, name) => c[name] ??= style.getPropertyValue('--' + name).trim() });
      this.font = style.fontFamily;
    }
    return this.colours;
  }

  paint() {
    const { pen, layout } = this;
    if (!this.width || !layout.nodes.length) return false;
    const sliding = this.aim();
    const c = this.palette();
    pen.setTransform(this.scale, 0, 0, this.scale, 0, 0);
    pen.clearRect(0, 0, this.width, this.height);
    for (const n of layout.nodes) [n.sx, n.sy] = this.at(n);
    this.paintLinks(c);
    const focus = this.hover || layout.nodes.find((n) => n.id === this.chosen);
    this.paintPath(c, layout.path(focus));
    this.paintNodes(c, focus);
    this.paintLabels(c, focus);
    return sliding;
  }

  // Links of one look are one path, so that hundreds cost little.
  paintLinks(c) {
    const { pen, layout } = this;
    const looks = new Map();
    for (const l of layout.links) {
      const mine = l.a.self || l.b.self;
      const q = l.kind === 'route' || l.kind === 'vouch' ? l.kind : quality(l.cost, l.kind);
      const look = q + (mine ? '!' : '') + (l.kind === 'internet' || l.kind === 'mesh' ? '~' : '');
      let list = looks.get(look);
      if (!list) looks.set(look, list = []);
      list.push(l);
    }
    for (const [look, list] of looks) {
      const q = look.replace(/\W/g, '');
      pen.strokeStyle = c[{ route: 'faint', vouch: 'faint', down: 'bad', good: 'good', fair: 'fair', poor: 'poor' }[q]];
      pen.lineWidth = look.includes('!') ? 2.6 : q === 'vouch' || q === 'route' ? 1.1 : 1.6;
      pen.setLineDash(q === 'route' ? [2, 4] : q === 'down' ? [1, 5] : look.includes('~') ? [7, 4] : q === 'poor' ? [4, 3] : []);
      pen.beginPath();
      for (const l of list) {
        pen.moveTo(l.a.sx, l.a.sy);
        pen.lineTo(l.b.sx, l.b.sy);
      }
      pen.stroke();
    }
    pen.setLineDash([]);
  }

  paintPath(c, hops) {
    const { pen } = this;
    pen.strokeStyle = c.accent;
    pen.lineWidth = 4.5;
    pen.lineCap = 'round';
    for (const [i, [a, b]] of hops.entries()) {
      pen.globalAlpha = i ? 0.45 : 0.9; // only the first hop is ours to know
      pen.beginPath();
      pen.moveTo(a.sx, a.sy);
      pen.lineTo(b.sx, b.sy);
      pen.stroke();
    }
    pen.globalAlpha = 1;
    pen.lineCap = 'butt';
  }

  radius(n) { return (n.self ? 10 : n.neighbour ? 7.5 : 5.5) * Math.max(0.75, Math.min(1.2, this.view.k)); }

  paintNodes(c, focus) {
    const { pen, layout } = this;
    for (const n of layout.nodes) {
      const r = this.radius(n);
      const gone = n.metric >= 65535 && !n.self;
      pen.beginPath();
      pen.arc(n.sx, n.sy, r, 0, 7);
      pen.fillStyle = gone ? c.surface : n.self ? c.accent : n.neighbour ? c.near : c.node;
      pen.fill();
      pen.lineWidth = 1.5;
      pen.strokeStyle = gone ? c.faint : c.surface;
      pen.stroke();
      if (n.exit) this.ring(n, r + 3, c.exit);
      if (n === focus) this.ring(n, r + 6, c.text);
    }
  }

  ring(n, r, colour) {
    const { pen } = this;
    pen.beginPath();
    pen.arc(n.sx, n.sy, r, 0, 7);
    pen.lineWidth = 2;
    pen.strokeStyle = colour;
    pen.stroke();
  }

  // paintLabels writes as many names as have room, the important ones first; few while
  // all moves, for they cost the most and cannot be read then.
  paintLabels(c, focus) {
    const { pen, layout } = this;
    const most = layout.heat > 0.03 && layout.nodes.length > 60 ? 24 : 80;
    const taken = [];
    pen.textBaseline = 'middle';
    pen.textAlign = 'center';
    pen.lineWidth = 3;
    pen.lineJoin = 'round';
    for (const n of focus ? [focus, ...this.important] : this.important) {
      if (taken.length >= most) break;
      if ((n === focus && taken.length) || n.sx < 0 || n.sy < 0 || n.sx > this.width || n.sy > this.height) continue;
      const strong = n === focus || n.self;
      pen.font = `${strong ? '600 13px' : '12px'} ${this.font}`;
      const key = (strong ? '!' : '') + n.label;
      if (!this.widths.has(key)) this.widths.set(key, pen.measureText(n.label).width);
      const w = this.widths.get(key) + 4;
      const y = n.sy + this.radius(n) + 10;
      const box = [n.sx - w / 2, y - 8, n.sx + w / 2, y + 8];
      const hit = taken.some((o) => box[0] < o[2] && box[2] > o[0] && box[1] < o[3] && box[3] > o[1]);
      const covers = !strong && layout.nodes.some((o) => o !== n && o.sx > box[0] && o.sx < box[2] && o.sy > box[1] - 3 && o.sy < box[3] + 3);
      if ((hit || covers) && n !== focus) continue;
      taken.push(box);
      pen.strokeStyle = c.surface;
      pen.strokeText(n.label, n.sx, y);
      pen.fillStyle = n.metric >= 65535 && !n.self ? c.dim : c.text;
      pen.fillText(n.label, n.sx, y);
    }
  }

  find(e) {
    const { left, top } = this.canvas.getBoundingClientRect();
    const [x, y] = [e.clientX - left, e.clientY - top];
    let best = null;
    let least = e.pointerType === 'touch' ? 900 : 324;
    for (const n of this.layout.nodes) {
      const d = (n.sx - x) ** 2 + (n.sy - y) ** 2;
      if (d < least) [best, least] = [n, d];
    }
    return best;
  }

  // zoomBy zooms about a point of the canvas, or its middle; 0 shows all again.
  zoomBy(factor, x = this.width / 2, y = this.height / 2) {
    if (!factor) this.zoom = null;
    else {
      const v = this.zoom || { ...this.view };
      const k = Math.max(0.1, Math.min(6, v.k * factor));
      const [dx, dy] = [x - this.width / 2, y - this.height / 2];
      this.zoom = { x: v.x + dx / v.k - dx / k, y: v.y + dy / v.k - dy / k, k };
    }
    this.wake();
  }

  pan(dx, dy) {
    const v = this.zoom || { ...this.view };
    this.zoom = { x: v.x - dx / v.k, y: v.y - dy / v.k, k: v.k };
    this.wake();
  }

  listen(signal) {
    const { canvas } = this;
    const fingers = new Map();
    let moved = 0;
    const on = (type, f, options) => canvas.addEventListener(type, f, { signal, ...options });
    on('pointerdown', (e) => {
      canvas.setPointerCapture(e.pointerId);
      fingers.set(e.pointerId, e);
      moved = 0;
    });
    on('pointermove', (e) => {
      const was = fingers.get(e.pointerId);
      if (!was) {
        const over = this.find(e);
        if (over !== this.hover) { this.hover = over; canvas.classList.toggle('over', !!over); this.wake(); }
        return;
      }
      const [dx, dy] = [e.clientX - was.clientX, e.clientY - was.clientY];
      moved += Math.abs(dx) + Math.abs(dy);
      const other = [...fingers.values()].find((f) => f.pointerId !== e.pointerId);
      fingers.set(e.pointerId, e);
      if (moved < 5) return;
      if (other) {
        const d = (f) => Math.hypot(f.clientX - other.clientX, f.clientY - other.clientY) || 1;
        const { left, top } = canvas.getBoundingClientRect();
        this.zoomBy(d(e) / d(was), (e.clientX + other.clientX) / 2 - left, (e.clientY + other.clientY) / 2 - top);
      } else this.pan(dx, dy);
    });
    const up = (e) => {
      fingers.delete(e.pointerId);
      if (e.type === 'pointerup' && moved < 5) this.choose?.(this.find(e)?.id || null);
    };
    on('pointerup', up);
    on('pointercancel', up);
    on('pointerleave', () => { if (this.hover) { this.hover = null; this.wake(); } });
    on('wheel', (e) => {
      e.preventDefault();
      const { left, top } = canvas.getBoundingClientRect();
      this.zoomBy(Math.exp(-e.deltaY * 0.002), e.clientX - left, e.clientY - top);
    }, { passive: false });
    on('keydown', (e) => {
      const moves = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
      if (moves[e.key]) this.pan(...moves[e.key]);
      else if (e.key === '+' || e.key === '-') this.zoomBy(e.key === '+' ? 1.25 : 0.8);
      else if (e.key === '0') this.zoomBy(0);
      else return;
      e.preventDefault();
    });
  }
}
