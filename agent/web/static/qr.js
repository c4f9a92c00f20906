// QR codes, ISO/IEC 18004: bytes, correction level M, versions 1 to 20.

import { s } from './kit.js';

// By version: check words of a block, and number of blocks, at level M.
const checks = [10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26];
const blocks = [1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16];

// words is how many codewords a version has, data and check.
function words(version) {
  let bits = (16 * version + 128) * version + 64;
  if (version >= 2) {
    const n = Math.floor(version / 7) + 2;
    bits -= (25 * n - 10) * n - 55;
    if (version >= 7) bits -= 36;
  }
  return bits >> 3;
}

// GF(256) with the polynomial 0x11d.
const exp = new Uint8Array(510);
const log = new Uint8Array(256);
for (let i = 0, x = 1; i < 255; i++) {
  exp[i] = exp[i + 255] = x;
  log[x] = i;
  x = x << 1 ^ (x >> 7) * 0x11d;
}
const times = (a, b) => (a && b ? exp[log[a] + log[b]] : 0);

function correction(data, degree) {
  let divisor = [1];
  for (let i = 0; i < degree; i++) {
    const next = [...divisor, 0];
    divisor.forEach((c, j) => { next[j + 1] ^= times(c, exp[i]); });
    divisor = next;
  }
  const rest = new Array(degree).fill(0);
  for (const b of data) {
    const f = b ^ rest.shift();
    rest.push(0);
    for (let i = 0; i < degree; i++) rest[i] ^= times(divisor[i + 1], f);
  }
  return rest;
}

// codewords are the interleaved words of a text, in the smallest version that holds it.
function codewords(text) {
  const data = new TextEncoder().encode(text);
  let version = 1;
  let room;
  for (;; version++) {
    if (version > checks.length) throw new Error('too long for a QR code');
    room = words(version) - checks[version - 1] * blocks[version - 1];
    if ((version < 10 ? 12 : 20) + 8 * data.length <= 8 * room) break;
  }
  const bits = [];
  const put = (value, n) => { for (let i = n - 1; i >= 0; i--) bits.push(value >> i & 1); };
  put(4, 4);
  put(data.length, version < 10 ? 8 : 16);
  for (const b of data) put(b, 8);
  put(0, Math.min(4, 8 * room - bits.length));
  while (bits.length % 8) bits.push(0);
  const all = [];
  for (let i = 0; i < bits.length; i += 8) all.push(parseInt(bits.slice(i, i + 8).join(''), 2));
  for (let pad = 0xec; all.length < room; pad ^= 0xec ^ 0x11) all.push(pad);
  const count = blocks[version - 1];
  const short = Math.floor(room / count);
  const parts = [];
  for (let i = 0, at = 0; i < count; i++) {
    const length = short + (i >= count - room % count ? 1 : 0);
    parts.push(all.slice(at, at += length));
  }
  const tails = parts.map((p) => correction(p, checks[version - 1]));
  const out = [];
  for (let i = 0; i <= short; i++) for (const p of parts) if (i < p.length) out.push(p[i]);
  for (let i = 0; i < checks[version - 1]; i++) for (const p of tails) out.push(p[i]);
  return { version, out };
}

const masks = [(x, y) => (x + y) % 2, (x, y) => y % 2, (x) => x % 3, (x, y) => (x + y) % 3, (x, y) => ((x / 3 | 0) + (y / 2 | 0)) % 2,
  (x, y) => x * y % 2 + x * y % 3, (x, y) => (x * y % 2 + x * y % 3) % 2, (x, y) => ((x + y) % 2 + x * y % 3) % 2];

// encode returns {version, mask, size, dark}: dark[y][x] is 1 for a dark module.
export function encode(text) {
  const { version, out } = codewords(text);
  const size = version * 4 + 17;
  const dark = Array.from({ length: size }, () => new Uint8Array(size));
  const fixed = Array.from({ length: size }, () => new Uint8Array(size));
  const set = (x, y, v) => { if (x >= 0 && y >= 0 && x < size && y < size) { dark[y][x] = v ? 1 : 0; fixed[y][x] = 1; } };

  for (let i = 0; i < size; i++) { set(6, i, i % 2 === 0); set(i, 6, i % 2 === 0); }
  for (const [cx, cy] of [[3, 3], [size - 4, 3], [3, size - 4]]) {
    for (let dy = -4; dy <= 4; dy++) for (let dx = -4; dx <= 4; dx++) {
      const r = Math.max(Math.abs(dx), Math.abs(dy));
      set(cx + dx, cy + dy, r !== 2 && r !== 4);
    }
  }
  const places = aligned(version, size);
  for (const cy of places) for (const cx of places) {
    if ((cx === 6 && (cy === 6 || cy === size - 7)) || (cx === size - 7 && cy === 6)) continue;
    for (let dy = -2; dy <= 2; dy++) for (let dx = -2; dx <= 2; dx++) set(cx + dx, cy + dy, Math.max(Math.abs(dx), Math.abs(dy)) !== 1);
  }
  if (version >= 7) {
    const bits = version << 12 | remainder(version, 12, 0x1f25);
    for (let i = 0; i < 18; i++) {
      const [a, b] = [size - 11 + i % 3, i / 3 | 0];
      set(a, b, bits >> i & 1);
      set(b, a, bits >> i & 1);
    }
  }
  format(set, size, 0);

  let bit = 0;
  for (let right = size - 1; right >= 1; right -= 2) {
    if (right === 6) right = 5;
    for (let i = 0; i < size; i++) {
      for (const x of [right, right - 1]) {
        const y = (right + 1 & 2) === 0 ? size - 1 - i : i;
        if (fixed[y][x] || bit >= out.length * 8) continue;
        dark[y][x] = out[bit >> 3] >> 7 - (bit & 7) & 1;
        bit++;
      }
    }
  }
  let best;
  for (let mask = 0; mask < 8; mask++) {
    const masked = dark.map((row, y) => row.map((v, x) => (fixed[y][x] ? v : v ^ !masks[mask](x, y))));
    format((x, y, v) => { masked[y][x] = v ? 1 : 0; }, size, mask);
    const penalty = ugliness(masked, size);
    if (!best || penalty < best.penalty) best = { version, mask, size, dark: masked, penalty };
  }
  return best;
}

function aligned(version, size) {
  if (version === 1) return [];
  const n = (version / 7 | 0) + 2;
  const step = Math.ceil((version * 4 + 4) / (n * 2 - 2)) * 2;
  return [6, ...Array.from({ length: n - 1 }, (_, i) => size - 7 - step * (n - 2 - i))];
}

function remainder(value, n, polynomial) {
  let r = value;
  for (let i = 0; i < n; i++) r = r << 1 ^ (r >> n - 1) * polynomial;
  return r;
}

function format(set, size, mask) {
  const data = mask; // level M is 00
  const bits = (data << 10 | remainder(data, 10, 0x537)) ^ 0x5412;
  const b = (i) => bits >> i & 1;
  for (let i = 0; i < 6; i++) set(8, i, b(i));
  set(8, 7, b(6));
  set(8, 8, b(7));
  set(7, 8, b(8));
  for (let i = 9; i < 15; i++) set(14 - i, 8, b(i));
  for (let i = 0; i < 8; i++) set(size - 1 - i, 8, b(i));
  for (let i = 8; i < 15; i++) set(8, size - 15 + i, b(i));
  set(8, size - 8, 1);
}

// ugliness is what the standard asks to keep low, so that cameras find the code.
function ugliness(m, size) {
  let sum = 0;
  let all = 0;
  const get = [(i, j) => m[i][j], (i, j) => m[j][i]];
  for (const g of get) {
    for (let i = 0; i < size; i++) {
      let line = '';
      for (let j = 0; j < size; j++) line += g(i, j);
      for (const run of line.match(/0+|1+/g)) if (run.length >= 5) sum += run.length - 2;
      const wide = '0000' + line + '0000';
      for (const finder of ['00001011101', '10111010000']) for (let at = wide.indexOf(finder); at >= 0; at = wide.indexOf(finder, at + 1)) sum += 40;
    }
  }
  for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) {
    all += m[y][x];
    if (x && y && m[y][x] === m[y][x - 1] && m[y][x] === m[y - 1][x] && m[y][x] === m[y - 1][x - 1]) sum += 3;
  }
  return sum + 10 * Math.floor(Math.abs(all * 20 - size * size * 10) / (size * size));
}

// picture is the code as SVG; label says what it leads to.
export function picture(text, label) {
  const { size, dark } = encode(text);
  let d = '';
  dark.forEach((row, y) => row.forEach((v, x) => { if (v) d += `M${x + 4} ${y + 4}h1v1h-1z`; }));
  return s('svg', { viewBox: `0 0 ${size + 8} ${size + 8}`, class: 'qr', role: 'img', 'aria-label': label, 'shape-rendering': 'crispEdges' },
    s('rect', { width: size + 8, height: size + 8, class: 'light' }), s('path', { d }));
}
