// JavaScript: a just-in-time compiler and a moving garbage collector.
const n = Number(process.argv[2]);
const make = (d) => d === 0 ? { l: null, r: null } : { l: make(d - 1), r: make(d - 1) };
const count = (t) => t.l === null ? 1 : 1 + count(t.l) + count(t.r);
let sum = 0;
for (let i = 0; i < n; i++) sum += count(make(12));
const m = new Map();
for (let i = 0; i < n * 2000; i++) { const k = 'k' + (i * 7919 % 5003); m.set(k, (m.get(k) || 0) + i % 17); }
let f = 0.5;
for (let i = 0; i < n * 20000; i++) f = Math.sqrt(f * 1.000001 + i % 3);
console.log(sum, m.size, m.get('k42'), f.toFixed(9), 'x'.repeat(n).replace(/x(?=x)/g, 'ab').length);
