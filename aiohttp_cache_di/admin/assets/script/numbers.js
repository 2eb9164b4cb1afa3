// Numbers as people read them.
const count = (n) => n.toLocaleString("en-US");
const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many}`;
function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (bytes >= 1023.5 && at < 4) { bytes /= 1024; at += 1; }
  return `${at && bytes < 9.95 ? bytes.toFixed(1) : Math.round(bytes)} ${units[at]}`;
}
function span(s) {
  s = Math.max(0, s);
  if (s < 90) return `${Math.round(s)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 129600) return `${Math.round(s / 3600)} h`;
  return s < 63072000 ? `${Math.round(s / 86400)} d` : `${Math.round(s / 31536000)} y`;
}
function took(s) {
  if (s < 0.001) return `${+(s * 1e6).toPrecision(2)} µs`;
  return s < 1 ? `${+(s * 1e3).toPrecision(2)} ms` : `${+s.toPrecision(2)} s`;
}
const percent = (share) => `${(share * 100).toFixed(share > 0.9995 || share === 0 ? 0 : 1)} %`;
const clock = (at) => new Date(at * 1000).toLocaleTimeString();
const moment = (at) => new Date(at * 1000).toLocaleString();
