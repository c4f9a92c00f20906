// A small chart of one measure over time, as SVG with its summary in words.

import { h, s, t } from './kit.js';

const W = 320;
const H = 84;

// chart draws series [{name, values, class}] of the same times; -1 or null is a gap.
// format makes words of a value, floor is the least upper end of the scale.
export function chart(title, series, { format, floor, span }) {
  const all = series.flatMap((x) => x.values).filter(known);
  const top = nice(Math.max(floor, ...all));
  const x = (i, n) => n < 2 ? W : i / (n - 1) * W;
  const y = (v) => H - v / top * (H - 6) - 1;
  const lines = series.map((one) => {
    let d = '';
    let pen = 'M';
    one.values.forEach((v, i) => {
      if (!known(v)) { pen = 'M'; return; }
      d += `${pen}${x(i, one.values.length).toFixed(1)} ${y(v).toFixed(1)}`;
      pen = 'L';
    });
    return s('path', { d, class: 'curve ' + (one.class || ''), 'vector-effect': 'non-scaling-stroke' });
  });
  const summary = series.map((one) => {
    const v = one.values.filter(known);
    const last = one.values.at(-1);
    const mean = v.reduce((a, b) => a + b, 0) / (v.length || 1);
    return (one.name ? one.name + ': ' : '') + (v.length ? t('now {0}, mean {1}, most {2}', known(last) ? format(last) : '–', format(mean), format(Math.max(...v))) : t('nothing measured yet'));
  });
  return h('figure', { class: 'chart' },
    h('figcaption', null, h('strong', null, title), series.map((one, i) => h('span', { class: 'dim' }, series.length > 1 && h('i', { class: 'key ' + (one.class || '') }), summary[i]))),
    h('div', { class: 'plot' }, h('span', { class: 'top' }, format(top)),
      s('svg', { viewBox: `0 0 ${W} ${H}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': `${title}. ${summary.join('. ')}` },
        s('path', { class: 'grid', d: `M0 ${y(0)}H${W}M0 ${y(top / 2)}H${W}M0 ${y(top)}H${W}`, 'vector-effect': 'non-scaling-stroke' }), lines)),
    h('div', { class: 'axis', 'aria-hidden': 'true' }, h('span', null, span), h('span', null, t('now'))));
}

const known = (v) => v != null && v >= 0;

// nice rounds up to 1, 2 or 5 times a power of ten.
function nice(v) {
  const p = 10 ** Math.floor(Math.log10(v || 1));
  return [1, 2, 5, 10].find((m) => m * p >= v) * p;
}
