// Plots.
const BOX = { left: 44, right: 8, top: 6, bottom: 20 };
let hovered = null;
function plot(at, data, draw) {
  const w = Math.max(240, at.clientWidth), h = at.clientHeight || 190;
  const inner = { x0: BOX.left, x1: w - BOX.right, y0: BOX.top, y1: h - BOX.bottom };
  const x = (i) => inner.x0 + ((i + 0.5) / data.length) * (inner.x1 - inner.x0);
  const made = svg("svg", { viewBox: `0 0 ${w} ${h}`, role: "img" });
  const y = (share) => inner.y1 - share * (inner.y1 - inner.y0);
  const label = draw({ made, x, y, inner, step: (inner.x1 - inner.x0) / data.length });
  made.setAttribute("aria-label", label);
  for (const minutes of [15, 10, 5, 0]) {
    const px = inner.x1 - (minutes / 15) * (inner.x1 - inner.x0);
    made.append(svg("text", { x: px, y: h - 4, "text-anchor": minutes === 15 ? "start" : minutes ? "middle" : "end" }, minutes ? `−${minutes} min` : "now"));
  }
  if (hovered !== null) made.append(svg("line", { class: "cross", x1: x(hovered), x2: x(hovered), y1: inner.y0, y2: inner.y1 }));
  fill(at, made);
}
function axis(made, inner, y, share, text) {
  made.append(svg("line", { class: "grid-line", x1: inner.x0, x2: inner.x1, y1: y(share), y2: y(share) }),
    svg("text", { x: inner.x0 - 6, y: y(share) + 4, "text-anchor": "end" }, text));
}
/** A line over the values that there are; where one is missing it has a gap. */
function line(values, x, y) {
  let path = "", isOn = false;
  values.forEach((value, i) => {
    if (value === null) { isOn = false; return; }
    path += `${isOn ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    if (!isOn && (i + 1 >= values.length || values[i + 1] === null)) path += "h0.01";
    isOn = true;
  });
  return path;
}
function key(kind, text, value) {
  return el("span", {}, el("span", { class: `key ${kind}` }), `${text} `, el("b", {}, value));
}
const ratioOf = (step) => (step.requests ? step.hits / step.requests : null);
function drawPlots(data, width) {
  const most = Math.max(1, ...data.map((step) => step.requests)), shown = hovered === null ? null : data[hovered];
  const latest = shown || [...data].reverse().find((step) => step.requests) || data[data.length - 1];
  const when = shown ? `, ${clock(shown.at)}` : "";
  plot($("plot-ratio"), data, ({ made, x, y, inner, step }) => {
    for (const share of [0, 0.25, 0.5, 0.75, 1]) axis(made, inner, y, share, `${share * 100} %`);
    let bars = "";
    data.forEach((one, i) => {
      if (one.requests) bars += `M${(x(i) - step / 2 + 0.5).toFixed(1)} ${inner.y1}V${y(one.requests / most).toFixed(1)}h${(step - 1).toFixed(1)}V${inner.y1}z`;
    });
    made.append(svg("path", { class: "bars", d: bars }));
    made.append(svg("path", { class: "cached", d: line(data.map(ratioOf), x, y) }));
    return `Hit ratio of the last 15 minutes, and requests: ${latest.requests ? percent(latest.hits / latest.requests) : "no requests"} lately`;
  });
  fill($("legend-ratio"),
    el("span", { class: "c-cached" }, key("", "hit ratio", latest.requests ? percent(latest.hits / latest.requests) : "–")),
    key("bar-key", `requests in ${width} s${when}`, count(latest.requests)));
  const low = Math.log10(1e-6), high = Math.log10(30), place = (s) => (Math.log10(s) - low) / (high - low);
  const lines = [["cached", 0.5], ["cached", 0.95], ["origin", 0.5], ["origin", 0.95]].map(([kind, q]) => ({
    kind, q, values: data.map((step) => quantile(step[kind], q)), latest: quantile(latest[kind], q),
  }));
  plot($("plot-latency"), data, ({ made, x, y, inner }) => {
    for (const [s, text] of [[1e-6, "1 µs"], [1e-5, "10 µs"], [1e-4, "100 µs"], [1e-3, "1 ms"], [0.01, "10 ms"], [0.1, "100 ms"], [1, "1 s"], [10, "10 s"]])
      axis(made, inner, y, place(s), text);
    for (const one of lines)
      made.append(svg("path", { class: `${one.kind}${one.q > 0.5 ? " p95" : ""}`, d: line(one.values.map((s) => (s === null ? null : place(s))), x, y) }));
    return `Latency of the last 15 minutes: ${lines.map((one) => `${one.kind} p${one.q * 100} ${one.latest === null ? "none" : took(one.latest)}`).join(", ")}`;
  });
  fill($("legend-latency"), ...lines.map((one) =>
    el("span", { class: `c-${one.kind}` }, key(one.q > 0.5 ? "dashed" : "", `${one.kind === "cached" ? "cache" : "origin"} p${one.q * 100}`, one.latest === null ? "–" : took(one.latest)))),
    when ? el("span", {}, when.slice(2)) : null);
}
for (const id of ["plot-ratio", "plot-latency"]) {
  $(id).addEventListener("pointermove", (event) => {
    const box = $(id).getBoundingClientRect(), n = bounds ? bounds.kept_s / (bounds.step_s * 3) : 60;
    const i = Math.floor(((event.clientX - box.left - BOX.left) / (box.width - BOX.left - BOX.right)) * n);
    hovered = i >= 0 && i < n ? i : null;
    show();
  });
  $(id).addEventListener("pointerleave", () => { hovered = null; show(); });
}
