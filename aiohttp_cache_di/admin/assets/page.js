
"use strict";
// All that comes from the API becomes a text node, a property of a field or a number. There is no markup made of text.
(() => {
  const $ = (id) => document.getElementById(id);
  const NOW_MS = 2000, STORE_MS = 30000, PAGE = 100, ROW = 28, OVERSCAN = 12, MAX_PAGES = 60;
  const HITS = ["hit", "stale"], NS = "http://www.w3.org/2000/svg";
  let token = "", caches = [], number = 0, bounds = null, paused = false;
  let workers = new Map(), chosen = "", lastStore = 0;

  // ---- making elements

  function el(name, props, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(props || {})) {
      if (key === "class") made.className = value;
      else if (key === "on") for (const [event, run] of Object.entries(value)) made.addEventListener(event, run);
      else if (key.includes("-") || key === "role" || key === "scope") made.setAttribute(key, value);
      else made[key] = value;
    }
    made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
    return made;
  }
  function svg(name, attributes, ...children) {
    const made = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }
  const say = (id, text) => { const at = $(id); if (at.textContent !== text) at.textContent = text; };
  const fill = (at, ...children) => at.replaceChildren(...children.filter((child) => child !== null));

  // ---- numbers as people read them

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

  // ---- the API

  class Failure extends Error {
    constructor(status, code, message) { super(message); this.status = status; this.code = code; }
  }
  async function api(path, { body, signal } = {}, again = true) {
    const init = { credentials: "same-origin", cache: "no-store", signal, headers: { Accept: "application/json" } };
    if (body !== undefined) {
      init.method = "POST";
      init.body = JSON.stringify(body);
      Object.assign(init.headers, { "Content-Type": "application/json", "X-Cache-Admin-Token": token });
    }
    let response, told;
    try {
      response = await fetch(new URL(`api/${path}`, new URL(".", location.href)), init);
      told = (response.headers.get("Content-Type") || "").startsWith("application/json") ? await response.json() : null;
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Failure(0, "offline", "The service does not answer.");
    }
    if (response.ok && told !== null && !response.redirected) return told;
    const refused = told && told.error;
    if (refused && refused.code === "token" && again) {
      await caches_();
      return api(path, { body, signal }, false);
    }
    if (refused) throw new Failure(response.status, refused.code, refused.message);
    if (response.status === 401 || response.status === 403 || response.redirected || response.ok)
      throw new Failure(response.status, "login", "The service does not let you in any more: reload the page.");
    throw new Failure(response.status, "http", `The service answers with status ${response.status}.`);
  }
  const ofCache = (path, options) => api(`caches/${number}/${path}`, options);

  async function caches_() {
    const told = await api("caches");
    token = told.token;
    bounds = told.bounds;
    caches = told.caches;
    return told;
  }

  // ---- what is wrong, in one place

  const troubles = new Map();
  function trouble(kind, message, isBad = true) {
    if (message) troubles.set(kind, { message, isBad }); else troubles.delete(kind);
    const all = [...troubles.values()], banner = $("banner");
    banner.hidden = !all.length;
    banner.classList.toggle("bad", all.some((one) => one.isBad));
    const texts = [...new Set(all.map((one) => one.message))];
    if (banner.dataset.told === texts.join("\n")) return;
    banner.dataset.told = texts.join("\n");
    fill(banner, ...texts.map((text) => el("p", {}, text)));
  }

  // ---- samples of one worker, or of all that have answered

  function remember(told) {
    let known = workers.get(told.worker.id);
    if (!known || told.is_all) {
      known = { worker: told.worker, samples: new Map() };
      workers.set(told.worker.id, known);
    }
    for (const sample of told.samples) known.samples.set(sample.at, sample);
    const oldest = told.now - bounds.kept_s;
    for (const at of known.samples.keys()) if (at < oldest) known.samples.delete(at);
    Object.assign(known, { told, seen: Date.now(), newest: Math.max(0, ...known.samples.keys()) });
    for (const [id, one] of workers) if (Date.now() - one.seen > 120000) workers.delete(id);
    if (chosen && !workers.has(chosen)) chosen = "";
    showWorkers();
    return known;
  }
  function showWorkers() {
    const pick = $("worker"), ids = [...workers.keys()];
    $("worker-pick").hidden = ids.length < 2;
    if (pick.dataset.ids !== ids.join()) {
      pick.dataset.ids = ids.join();
      fill(pick, el("option", { value: "" }, `${ids.length} workers seen`),
        ...ids.map((id) => el("option", { value: id }, `worker ${workers.get(id).worker.pid}`)));
    }
    pick.value = chosen;
  }
  const meant = () => [...workers.values()].filter((one) => !chosen || one.worker.id === chosen);
  function add(into, counts) { for (const [at, n] of counts) into[at] = (into[at] || 0) + n; }
  function merged() {
    const all = new Map();
    for (const one of meant()) for (const [at, sample] of one.samples) {
      const sum = all.get(at) || { at, requests: 0, hits: 0, cached: [], origin: [], store: [], failed: 0 };
      for (const [result, n] of Object.entries(sample.results)) {
        if (result === "error") continue;
        sum.requests += n;
        if (HITS.includes(result)) sum.hits += n;
      }
      for (const kind of ["cached", "origin", "store"]) add(sum[kind], sample[kind]);
      sum.failed += sample.failed;
      all.set(at, sum);
    }
    return all;
  }
  function quantile(counts, q) {
    let total = 0, sum = 0;
    counts.forEach((n) => { total += n; });
    if (!total) return null;
    for (let at = 0; at < counts.length; at += 1) {
      const n = counts[at] || 0;
      if (n && sum + n >= q * total) {
        const low = at ? bounds.durations_s[at - 1] : bounds.durations_s[0] / 2;
        const high = at < bounds.durations_s.length ? bounds.durations_s[at] : low * 2;
        return low * (high / low) ** Math.min(1, (q * total - sum) / n);  // as if they were spread evenly, by magnitude
      }
      sum += n;
    }
    return null;
  }
  /** Steps of the plot, of three samples each, the oldest first. */
  function steps(now) {
    const samples = merged(), width = bounds.step_s * 3, end = Math.floor(now / width) * width + width;
    const made = [];
    for (let at = end - bounds.kept_s; at < end; at += width) {
      const sum = { at, requests: 0, hits: 0, cached: [], origin: [] };
      for (let part = at; part < at + width; part += bounds.step_s) {
        const sample = samples.get(part);
        if (!sample) continue;
        sum.requests += sample.requests;
        sum.hits += sample.hits;
        add(sum.cached, Object.entries(sample.cached));
        add(sum.origin, Object.entries(sample.origin));
      }
      made.push(sum);
    }
    return { made, width, samples };
  }

  // ---- plots

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

  // ---- the overview

  function show() {
    const these = meant();
    if (!these.length || !bounds) return;
    const { made, width, samples } = steps(Math.max(...these.map((one) => one.told.now)));
    if (!$("overview").hidden) drawPlots(made, width);
    const sum = { requests: 0, hits: 0, cached: [], origin: [], store: [], failed: 0 };
    for (const sample of samples.values()) {
      sum.requests += sample.requests; sum.hits += sample.hits; sum.failed += sample.failed;
      for (const kind of ["cached", "origin", "store"]) add(sum[kind], Object.entries(sample[kind]));
    }
    const counters = {}, saved = { requests: 0, bytes: 0, seconds: 0 }, errors = {};
    for (const { told } of these) {
      for (const [name, n] of Object.entries(told.counters)) counters[name] = (counters[name] || 0) + n;
      for (const name of Object.keys(saved)) saved[name] += told.saved[name];
      for (const [kind, n] of Object.entries(told.store_errors)) errors[kind] = (errors[kind] || 0) + n;
    }
    const ratio = sum.requests ? percent(sum.hits / sum.requests) : "–";
    say("t-ratio", ratio);
    say("t-ratio-sub", counters.requests ? `${percent(counters.hits / counters.requests)} since the start` : "no requests yet");
    const minute = [...samples.values()].filter((one) => one.at >= made[made.length - 1].at - 60);
    const rate = minute.reduce((n, one) => n + one.requests, 0) / 60;
    say("t-rate", `${rate >= 10 ? Math.round(rate) : +rate.toFixed(1)} /s`);
    say("t-rate-sub", `${count(counters.requests || 0)} since the start`);
    for (const kind of ["cached", "origin"]) {
      const p50 = quantile(sum[kind], 0.5), p95 = quantile(sum[kind], 0.95), p99 = quantile(sum[kind], 0.99);
      say(`t-${kind}`, p50 === null ? "–" : took(p50));
      say(`t-${kind}-sub`, p50 === null ? "none in 15 minutes" : `p95 ${took(p95)}, p99 ${took(p99)}`);
    }
    say("t-saved", count(saved.requests));
    say("t-saved-sub", `${size(saved.bytes)}, ${span(saved.seconds)} of waiting`);
    const mine = these.length > 1 ? `of ${these.length} workers` : `of worker ${these[0].worker.pid}, since ${moment(these[0].worker.since)}`;
    say("counters-note", `${mine}; each worker counts for itself`);
    say("busiest-note", `of ${these.length > 1 ? `${these.length} workers` : "this worker"}, 15 minutes`);
    showBusiest(these);
    if ($("counters").dataset.told !== JSON.stringify(counters)) {
      $("counters").dataset.told = JSON.stringify(counters);
      fill($("counters"), ...Object.entries(counters).map(([name, n]) => el("div", {}, el("dt", {}, name), el("dd", {}, count(n)))));
    }
    const ill = these.filter((one) => one.told.health !== "ok");
    const health = $("health");
    health.className = `pill ${isDown ? "bad" : ill.length ? "warn" : "ok"}`;
    say("health-text", isDown ? "store down" : ill.length ? "degraded" : "healthy");
    trouble("health", ill.length && !isDown ? `Degraded: ${ill[0].told.reason}. Requests go to the origin meanwhile.` : "", false);
    showFacts(these, errors, sum);
    document.title = `${caches[number] ? caches[number].name : "Cache"} · ${ratio}`;
  }

  function showBusiest(these) {
    const sums = new Map();
    for (const { told } of these) for (const one of told.busiest) {
      const sum = sums.get(one.host) || { host: one.host, requests: 0, cached: 0 };
      sum.requests += one.requests; sum.cached += one.cached;
      sums.set(one.host, sum);
    }
    const found = [...sums.values()].sort((one, other) => other.requests - one.requests), text = JSON.stringify(found), body = $("busiest").tBodies[0];
    if (body.dataset.told === text) return;
    body.dataset.told = text;
    fill(body, ...(found.length ? found.map((one) => el("tr", {}, cell(hostButton(one.host)),
      cell(count(one.requests), { class: "n" }), cell(percent(one.cached / one.requests), { class: "n" })))
      : [el("tr", {}, el("td", { colSpan: 3, class: "soft" }, "no requests in 15 minutes"))]));
  }
  let stored = null, isDown = false;
  function showFacts(these, errors, sum) {
    const cache = caches[number] || {}, p95 = quantile(sum.store, 0.95), facts = [];
    facts.push(["kept by", `${cache.store || "–"}${cache.where ? `, ${cache.where}` : ""}`], ["goes by", cache.mode || "–"]);
    if (stored) facts.push(["holds", `${plural(stored.entries, "entry", "entries")}, ${size(stored.bytes_in_use)}${stored.bytes_on_disk === null ? "" : `, ${size(stored.bytes_on_disk)} on disk`}`]);
    facts.push(["operations", p95 === null ? "none in 15 minutes" : `p50 ${took(quantile(sum.store, 0.5))}, p95 ${took(p95)}`]);
    facts.push(["failed", sum.failed ? `${count(sum.failed)} in 15 minutes` : "none in 15 minutes"]);
    const circuits = [...new Set(these.map((one) => one.told.circuit))];
    facts.push(["circuit", circuits.join(", ")]);
    const kinds = Object.entries(errors);
    if (kinds.length) facts.push(["errors", kinds.map(([kind, n]) => `${kind} ${count(n)}`).join(", ")]);
    const text = JSON.stringify(facts);
    if ($("facts").dataset.told === text) return;
    $("facts").dataset.told = text;
    fill($("facts"), ...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  }

  async function askNow() {
    const newest = [...workers.values()].sort((a, b) => b.seen - a.seen)[0];
    // Of the newest step more may have come since; so it is asked for again.
    const known = newest ? `?worker=${newest.worker.id}&after=${Math.max(0, newest.newest - 1)}` : "";
    const asked = number;
    const told = await ofCache(`now${known}`);
    if (asked !== number) return;
    remember(told);
    show();
  }

  async function askStore(path = "store", options = undefined) {
    lastStore = Date.now();
    const asked = number;
    const [used, hosts] = await Promise.allSettled([ofCache(path, options), ofCache("upstreams")]);
    if (asked !== number) return false;
    if (used.status === "fulfilled") {
      stored = used.value;
      isDown = false;
      say("t-stored", count(stored.entries));
      say("t-stored-sub", `${size(stored.bytes_in_use)}${stored.bytes_on_disk === null ? "" : `, ${size(stored.bytes_on_disk)} on disk`}`);
      say("store-note", `answered in ${took(stored.took_s)}, ${clock(stored.now)}`);
      trouble("store", "");
    } else {
      stored = null;
      isDown = used.reason.code === "store-failed";
      say("t-stored", "?");
      say("t-stored-sub", "the store does not answer");
      say("store-note", `does not answer, ${clock(Date.now() / 1000)}`);
      trouble("store", isDown ? `${used.reason.message.replace(/\.$/, "")}. Requests go to the origin meanwhile; what is shown is what the workers know by themselves.` : used.reason.message);
    }
    if (hosts.status === "fulfilled") showHosts(hosts.value);
    show();
    return used.status === "fulfilled";
  }
  function hostButton(host) {
    if (!host || host.startsWith("(")) return host || "(none)";  // all others together
    return el("button", { type: "button", class: "link", title: `Show the entries of ${host}`, on: { click: () => { clearFilter(); $("host").value = host; go("entries"); reload(); } } }, host);
  }
  const cell = (text, props) => el("td", props || {}, text);
  function showHosts(told) {
    if (told.largest === null) fill($("largest").tBodies[0], el("tr", {}, el("td", { colSpan: 4, class: "soft" }, "the store does not answer")));
    else fill($("largest").tBodies[0], ...told.largest.map((one) => el("tr", {}, cell(hostButton(one.host)),
      cell(count(one.entries), { class: "n" }), cell(percent(one.fresh / one.entries), { class: "n" }), cell(size(one.body_bytes), { class: "n" }))));
    say("largest-note", told.largest === null ? "" : `${plural(told.hosts, "host", "hosts")} in the store, ${clock(told.at)}`);
  }

  $("check").addEventListener("click", async () => {
    $("check").disabled = true;
    try {
      say("check-said", (await askStore("check", { body: {} })) ? "The store can be read and written." : "The store cannot be used.");
    } finally { $("check").disabled = false; }
  });

  // ---- entries: rows for what is in sight, pages of what is near it

  const COLUMNS = [
    ["method", "Method", "c-method"], ["url", "URL", "c-url"], ["status", "Status", "c-status"], ["type", "Type", "c-type"],
    ["size", "Size", "n"], ["stored", "Stored", "n c-stored"], ["fresh", "Fresh", "n c-fresh"], ["partition", "For", "c-partition"],
  ];
  const DOWN_FIRST = new Set(["size", "stored", "fresh"]);
  const table = { sort: "stored", order: "desc", listing: "", total: 0, reachable: 0, pages: new Map(), asked: new Map(), generation: 0, active: -1, rows: new Map(), now: 0, at: 0, open: null };
  const grid = $("grid");

  function makeHead() {
    fill($("head"), ...COLUMNS.map(([name, title, kind]) => el("div", {
      role: "columnheader", class: kind, "aria-sort": table.sort === name ? (table.order === "asc" ? "ascending" : "descending") : "none",
    }, el("button", { type: "button", on: { click: () => sortBy(name) } }, title))));
  }
  function sortBy(name) {
    const first = DOWN_FIRST.has(name) ? "desc" : "asc";
    table.order = table.sort === name ? (table.order === "asc" ? "desc" : "asc") : first;
    table.sort = name;
    const index = COLUMNS.findIndex((column) => column[0] === name);
    makeHead();
    $("head").children[index].firstChild.focus();
    reload();
  }
  const FIELDS = ["q", "state", "host", "match", "tag", "larger_than", "older_than"];
  function asked(offset) {
    const query = new URLSearchParams({ sort: table.sort, order: table.order, offset, limit: PAGE });
    for (const name of FIELDS) if ($(name).value.trim()) query.set(name, $(name).value.trim());
    if (table.listing) query.set("listing", table.listing);
    return `entries?${query}`;
  }
  function clearFilter() { for (const name of FIELDS) $(name).value = ""; }

  function reload() {
    table.generation += 1;
    table.listing = "";
    for (const abort of table.asked.values()) abort.abort();
    table.asked.clear();
    table.isNew = true;
    grid.setAttribute("aria-busy", "true");
    say("count", "looking …");
    $("clear").hidden = !FIELDS.some((name) => $(name).value.trim());
    load(0);
  }
  async function load(page) {
    if (table.asked.has(page) || (table.pages.has(page) && !table.isNew)) return;
    const abort = new AbortController(), generation = table.generation;
    table.asked.set(page, abort);
    try {
      const told = await ofCache(asked(page * PAGE), { signal: abort.signal });
      if (generation !== table.generation) return;
      if (table.isNew) {
        table.isNew = false;
        table.pages.clear();
        table.active = -1;
        grid.scrollTop = 0;
        for (const row of table.rows.values()) row.remove();
        table.rows.clear();
      }
      table.pages.delete(page);
      table.pages.set(page, told.entries);
      while (table.pages.size > MAX_PAGES) table.pages.delete(table.pages.keys().next().value);
      Object.assign(table, { listing: told.listing, total: told.total, reachable: told.reachable, now: told.now, at: told.at, body_bytes: told.body_bytes });
      trouble("entries", "");
      counted();
      render();
    } catch (error) {
      if (error.name === "AbortError" || generation !== table.generation) return;
      if (error.code === "busy") {
        setTimeout(() => { if (generation === table.generation) load(page); }, 400);
        return;
      }
      failed(error);
    } finally {
      if (table.asked.get(page) === abort) table.asked.delete(page);
      if (!table.asked.size) grid.setAttribute("aria-busy", "false");
    }
  }
  function counted() {
    const left = table.total > table.reachable ? `, the first ${count(table.reachable)} in this order` : "";
    say("count", `${plural(table.total, "entry", "entries")}, ${size(table.body_bytes)}${left}, at ${clock(table.at)}`);
    grid.setAttribute("aria-rowcount", String(table.reachable + 1));
    $("nothing").hidden = table.total > 0;
    say("nothing", FIELDS.some((name) => $(name).value.trim()) ? "Nothing that is stored meets all of this." : "Nothing is stored yet.");
  }
  function failed(error) {
    if (table.isNew) {
      table.pages.clear(); table.total = table.reachable = 0; table.active = -1;
      render();
      $("nothing").hidden = false;
      say("nothing", error.message);
    }
    say("count", error.status === 400 ? "this cannot be looked for" : "not available");
    if (error.status !== 400) trouble("entries", error.code === "store-failed" && isDown ? "" : error.message);
  }

  const entryAt = (index) => (table.pages.get(Math.floor(index / PAGE)) || [])[index % PAGE];
  function urlParts(url) {
    const found = /^(https?:\/\/[^/]*)(.*)$/s.exec(url);
    return found ? [el("span", { class: "h" }, found[1]), found[2]] : [url];
  }
  function fresh(entry, now) {
    if (entry.is_fresh) return ["ok", entry.fresh_until === null ? "for ever" : span(entry.fresh_until - now)];
    return ["warn", entry.fresh_until === null ? "never" : `−${span(now - entry.fresh_until)}`];
  }
  function cells(entry) {
    const [state, left] = fresh(entry, table.now), one = (kind, ...children) => el("div", { role: "gridcell", class: kind }, ...children);
    return [
      one("c-method", entry.method), el("div", { role: "gridcell", class: "c-url url", title: entry.url }, el("bdi", {}, ...urlParts(entry.url))), one("c-status", String(entry.status)), one("c-type soft", entry.content_type),
      one("n", size(entry.body_bytes)), one("n c-stored soft", span(table.now - entry.stored_at)),
      one("n c-fresh", el("span", { class: `state ${state}`, title: entry.is_fresh ? "fresh for" : "stale since" }, left, el("span", { class: "dot" }))),
      one("c-partition soft", entry.partition ? `principal ${entry.partition.slice(0, 4)}` : "everyone"),
    ];
  }
  const EMPTY = () => COLUMNS.map(([, , kind]) => el("div", { role: "gridcell", class: `${kind} empty` }));
  function render() {
    const height = table.reachable * ROW;
    if ($("rows").dataset.height !== String(height)) { $("rows").dataset.height = String(height); $("rows").style.height = `${height}px`; }
    const top = Math.max(0, grid.scrollTop - 32), first = Math.max(0, Math.floor(top / ROW) - OVERSCAN);
    const last = Math.min(table.reachable, Math.ceil((top + grid.clientHeight) / ROW) + OVERSCAN);
    for (const [index, row] of table.rows) if (index < first || index >= last) { row.remove(); table.rows.delete(index); }
    const made = [];
    for (let index = first; index < last; index += 1) {
      let row = table.rows.get(index);
      const entry = entryAt(index);
      if (row && row.entry === entry) continue;
      if (!row) {
        row = el("div", { class: "row", role: "row", id: `row-${index}`, "aria-rowindex": String(index + 2) });
        row.style.transform = `translateY(${index * ROW}px)`;
        row.index = index;
        table.rows.set(index, row);
        made.push(row);
      }
      row.entry = entry;
      row.replaceChildren(...(entry ? cells(entry) : EMPTY()));
      mark(row);
    }
    $("rows").append(...made);
    wantPages();
  }
  function mark(row) {
    const isActive = row.index === table.active;
    row.classList.toggle("active", isActive);
    row.setAttribute("aria-selected", String(isActive));
  }
  let wanting = 0;
  function wantPages() {
    clearTimeout(wanting);
    wanting = setTimeout(() => {
      if (table.isNew || !table.listing) return;
      const top = Math.max(0, grid.scrollTop - 32), from = Math.floor(top / ROW / PAGE), to = Math.floor((top + grid.clientHeight) / ROW / PAGE);
      for (const [page, abort] of table.asked) if (page < from - 1 || page > to + 1) { abort.abort(); table.asked.delete(page); }
      const pages = (table.reachable - 1) / PAGE;
      for (let page = from; page <= to + 1; page += 1) if (page <= pages) load(page);
      if (from > 0) load(from - 1);
    }, 40);
  }
  let framed = false;
  grid.addEventListener("scroll", () => {
    if (framed) return;
    framed = true;
    requestAnimationFrame(() => { framed = false; render(); });
  }, { passive: true });

  function activate(index, isSeen = true) {
    const before = table.rows.get(table.active);
    table.active = Math.max(0, Math.min(table.reachable - 1, index));
    if (before) mark(before);
    const top = table.active * ROW, view = grid.clientHeight - 32;
    if (isSeen) {
      if (top < grid.scrollTop) grid.scrollTop = top;
      else if (top + ROW > grid.scrollTop + view) grid.scrollTop = top + ROW - view;
    }
    render();
    const now = table.rows.get(table.active);
    if (now) { mark(now); grid.setAttribute("aria-activedescendant", now.id); }
  }
  grid.addEventListener("keydown", (event) => {
    if (event.target !== grid || event.ctrlKey || event.metaKey || event.altKey) return;
    const screen = Math.max(1, Math.floor(grid.clientHeight / ROW) - 2);
    const to = { ArrowDown: table.active + 1, ArrowUp: table.active - 1, PageDown: table.active + screen, PageUp: table.active - screen, Home: 0, End: table.reachable - 1 }[event.key];
    if (to !== undefined && table.reachable) { event.preventDefault(); activate(to); }
    else if ((event.key === "Enter" || event.key === " ") && table.active >= 0) { event.preventDefault(); open(entryAt(table.active)); }
  });
  grid.addEventListener("focus", () => { if (table.active < 0 && table.reachable && grid.matches(":focus-visible")) activate(0, false); });
  $("rows").addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (row && row.entry) { activate(row.index, false); open(row.entry); }
  });

  let typing = 0;
  $("filter").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(reload, 250); });
  $("filter").addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(typing); reload(); });
  $("reload").addEventListener("click", reload);
  $("clear").addEventListener("click", () => { clearFilter(); $("q").focus(); reload(); });
  $("more").addEventListener("keydown", (event) => { if (event.key === "Escape") { $("more").open = false; $("more").firstElementChild.focus(); } });
  document.addEventListener("click", (event) => { if (!$("more").contains(event.target)) $("more").open = false; });

  // ---- one entry

  function close() {
    $("detail").hidden = true;
    document.querySelector(".split").classList.remove("open");
    table.open = null;
    grid.focus({ preventScroll: true });
    render();
  }
  function pair(name, value) { return value === null || value === "" ? [] : [el("dt", {}, name), el("dd", {}, value)]; }
  async function open(entry) {
    if (!entry) return;
    const panel = $("detail");
    table.open = entry.key;
    document.querySelector(".split").classList.add("open");
    panel.hidden = false;
    const title = el("h2", { tabIndex: -1 }, entry.url);
    const may = bounds && bounds.may_change;
    const actions = el("div", { class: "actions" },
      may ? el("button", { type: "button", class: "danger", on: { click: () => openPurge({ url: entry.url }, false) } }, "Purge this URL…") : null,
      may ? el("button", { type: "button", on: { click: () => openPurge({ url: entry.url }, true) } }, "Make stale…") : null,
      el("button", { type: "button", on: { click: () => { $("e-method").value = entry.method; $("e-url").value = entry.url; go("explain"); $("e-url").focus(); } } }, "Explain"));
    const body = el("div", {}, el("p", { class: "hint" }, "reading …"));
    fill(panel, el("div", { class: "top" }, title, el("button", { type: "button", "aria-label": "Close", on: { click: close } }, "Close")), actions, body);
    title.focus({ preventScroll: true });
    render();
    try {
      const told = await ofCache(`entry?${new URLSearchParams({ key: entry.key })}`);
      if (table.open === entry.key) fill(body, ...describe(told));
    } catch (error) {
      if (table.open === entry.key) fill(body, el("p", { class: "bad" }, error.message));
    }
  }
  function describe({ row, now, http, reason, headers, variants, preview }) {
    const [state, left] = fresh(row, now);
    const facts = el("dl", { class: "facts" },
      ...pair("request", row.method), ...pair("response", `HTTP/${http} ${row.status} ${reason}`.trim()),
      ...pair("freshness", el("span", { class: state }, row.is_fresh ? (row.fresh_until === null ? "fresh for ever" : `fresh for ${left}`) : (row.fresh_until === null ? "stale: each use needs a validation" : `stale for ${left.slice(1)}`))),
      ...pair("stored", `${moment(row.stored_at)}, ${span(now - row.stored_at)} ago`),
      ...(row.validated_at - row.stored_at > 1 ? pair("validated", `${moment(row.validated_at)}, ${span(now - row.validated_at)} ago`) : []),
      ...pair("kept", row.kept_until === null ? "until there is no room" : `until ${moment(row.kept_until)}`),
      ...pair("for", row.partition ? `principal ${row.partition}` : "everyone"),
      ...pair("varies on", row.variant), ...(variants ? pair("variants", `${count(variants)} more`) : []),
      ...pair("tags", row.tags.join(", ")), ...pair("body", size(row.body_bytes)), ...pair("key", el("span", { class: "mono" }, row.key)));
    const lines = el("dl", { class: "lines" }, ...headers.flatMap(({ name, value }) =>
      [el("dt", {}, name), el("dd", {}, value === null ? el("i", {}, "not shown") : value)]));
    return [facts, el("h3", {}, "Header fields"), lines, ...bodyOf(preview, row)];
  }
  function bodyOf(preview, row) {
    if (preview.kind === "off") return [el("h3", {}, "Body"), el("p", { class: "hint" }, "Previews are turned off.")];
    if (preview.kind === "empty") return [el("h3", {}, "Body"), el("p", { class: "hint" }, "It has none.")];
    const notes = [preview.is_whole ? size(row.body_bytes) : `the first ${size(preview.of_bytes)} of ${size(row.body_bytes)}`];
    if (preview.is_redacted) notes.push("what is called like a secret was taken out");
    return [el("h3", {}, `Body: ${notes.join("; ")}`), el("pre", { class: preview.kind, tabIndex: 0, "aria-label": "Beginning of the body" }, preview.text)];
  }
  $("detail").addEventListener("keydown", (event) => { if (event.key === "Escape") { event.stopPropagation(); close(); } });

  // ---- purge: what would go is counted before anything can

  const SELECT = ["url", "host", "match", "tag", "older_than", "larger_than"];
  let sized = null, sizing = 0, purging = 0;
  function openPurge(given, isSoft) {
    for (const name of SELECT) $(`p-${name}`).value = given[name] || "";
    $("p-expired").checked = Boolean(given.expired);
    $("p-all").checked = false;
    $("p-confirm").value = "";
    $("p-soft").checked = isSoft;
    $("p-hard").checked = !isSoft;
    say("p-name", caches[number].name);
    $("purge").showModal();
    sizeUp();
  }
  $("open-purge").addEventListener("click", () => openPurge({
    host: $("host").value.trim(), match: $("match").value.trim(), tag: $("tag").value.trim(), older_than: $("older_than").value.trim(),
    larger_than: $("larger_than").value.trim(), expired: $("state").value === "stale",
  }, false));
  function wish(isDry) {
    const told = { soft: $("p-soft").checked, dry_run: isDry };
    if ($("p-all").checked) return { ...told, all: true };
    for (const name of SELECT) {
      const value = $(`p-${name}`).value.trim();
      if (value) told[name === "tag" ? "tags" : name] = name === "tag" ? [value] : value;
    }
    if ($("p-expired").checked) told.expired = true;
    return told;
  }
  function ready() {
    const isAll = $("p-all").checked;
    $("p-confirm-box").hidden = !isAll;
    for (const name of SELECT) $(`p-${name}`).disabled = isAll;
    $("p-expired").disabled = isAll;
    $("p-go").disabled = !sized || !sized.entries || (isAll && $("p-confirm").value !== caches[number].name);
  }
  function sizeUp() {
    const mine = ++purging, asked = wish(true);
    sized = null;
    ready();
    clearTimeout(sizing);
    if (!asked.all && Object.keys(asked).length === 2) { say("p-said", "Fill in what is to go."); return; }
    say("p-said", "counting …");
    sizing = setTimeout(async () => {
      try {
        const told = await ofCache("purge", { body: asked });
        if (mine !== purging) return;
        sized = told;
        say("p-said", `${plural(told.entries, "entry", "entries")}, ${size(told.bytes)}, would be ${told.soft ? "made stale" : "dropped"}.`);
        say("p-go", `${told.soft ? "Make stale" : "Drop"} ${plural(told.entries, "entry", "entries")}`);
      } catch (error) {
        if (mine === purging) say("p-said", error.message);
      }
      if (mine === purging) ready();
    }, 300);
  }
  $("purge-form").addEventListener("input", (event) => (event.target.id === "p-confirm" ? ready() : sizeUp()));
  $("p-cancel").addEventListener("click", () => $("purge").close());
  $("purge").addEventListener("close", () => { purging += 1; });
  $("purge-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    if ($("p-go").disabled) return;
    $("p-go").disabled = true;
    say("p-said", "purging …");
    try {
      const told = await ofCache("purge", { body: wish(false) });
      $("purge").close();
      if (table.open) close();
      reload();
      askStore();
      say("count", `${plural(told.entries, "entry", "entries")} ${told.soft ? "made stale" : "dropped"}`);
    } catch (error) {
      say("p-said", error.message);
      ready();
    }
  });

  // ---- explain

  $("explain-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const headers = [], answer = $("answer");
    for (const text of $("e-headers").value.split("\n")) {
      const at = text.indexOf(":");
      if (at > 0) headers.push([text.slice(0, at).trim(), text.slice(at + 1).trim()]);
      else if (text.trim()) { fill(answer, el("p", { class: "bad" }, `“${text}” is no header: use Name: value.`)); return; }
    }
    const body = { method: $("e-method").value.trim() || "GET", url: $("e-url").value, headers, refresh: $("e-refresh").checked, only_if_cached: $("e-only").checked };
    if ($("e-principal").value.trim()) body.principal = $("e-principal").value.trim();
    try {
      fill(answer, ...explained(await ofCache("explain", { body })));
    } catch (error) {
      fill(answer, el("p", { class: "bad" }, error.message));
    }
  });
  const MEANS = {
    Serve: "answer from the cache", Validate: "ask the origin whether what is stored still holds", Fetch: "fetch from the origin",
    Bypass: "pass the cache by", NotModified: "answer 304: the caller has it already", Partial: "answer with the part that is asked for",
    RangeNotSatisfiable: "answer 416: there is no such part", GatewayTimeout: "answer 504: only the cache may be asked, and has nothing",
  };
  function explained(told) {
    const steps = told.steps.map((step) => el("li", {}, el("span", { class: step.answer ? "yes" : "no" }, step.answer ? "yes" : "no"), el("b", {}, step.question), el("span", {}, step.because)));
    const kept = told.stored.map((row) => {
      const [, left] = fresh(row, told.now);
      return el("li", {}, `${row.method} ${row.status}, ${size(row.body_bytes)}, ${row.is_fresh ? `fresh ${left === "for ever" ? left : `for ${left}`}` : row.fresh_until === null ? "needs a validation" : `stale for ${left.slice(1)}`}${row.variant ? `, varies on ${row.variant}` : ""}${row.partition ? `, for principal ${row.partition}` : ""}, key ${row.key.slice(0, 12)}`);
    });
    return [
      el("h2", {}, told.decision, MEANS[told.decision] ? el("small", {}, MEANS[told.decision]) : null),
      el("p", { class: "mono" }, `${told.method} ${told.url}`), el("p", { class: "mono" }, told.cache_status),
      told.partition ? el("p", { class: "soft" }, `asks as principal ${told.partition}`) : null,
      el("ol", { class: "steps" }, ...steps),
      el("h3", {}, "Settings that apply"), el("ul", { class: "plain mono" }, ...told.settings.map((text) => el("li", {}, text))),
      el("h3", {}, "Stored for the URL"), kept.length ? el("ul", { class: "plain" }, ...kept) : el("p", { class: "hint" }, "nothing"),
    ].filter(Boolean);
  }

  // ---- moving about

  const VIEWS = ["overview", "entries", "explain"];
  let view = "";
  function go(name) { if (location.hash !== `#${name}`) location.hash = name; showView(); }
  function showView() {
    const wanted = VIEWS.includes(location.hash.slice(1)) ? location.hash.slice(1) : "overview";
    if (wanted === view) return;
    view = wanted;
    for (const name of VIEWS) {
      $(name).hidden = name !== view;
      if (name === view) $(`to-${name}`).setAttribute("aria-current", "page"); else $(`to-${name}`).removeAttribute("aria-current");
    }
    document.body.classList.toggle("fits", view === "entries");
    if (view === "entries" && !table.listing && !table.asked.size && caches.length) reload();
    scrollTo(0, 0);
    show();
  }
  addEventListener("hashchange", showView);
  $("skip").addEventListener("click", () => $("main").focus());
  $("pause").addEventListener("click", () => {
    paused = !paused;
    $("pause").setAttribute("aria-pressed", String(paused));
    say("pause", paused ? "Paused" : "Pause");
    if (!paused) tick();
  });
  $("worker").addEventListener("change", () => { chosen = $("worker").value; show(); });
  $("cache").addEventListener("change", () => {
    number = Number($("cache").value);
    workers = new Map(); chosen = ""; stored = null; isDown = false; lastStore = 0; table.listing = "";
    troubles.clear(); trouble("", "");
    for (const id of ["t-stored", "t-ratio"]) say(id, "–");
    if (!$("detail").hidden) close();
    showWorkers(); tick();
    if (view === "entries") reload();
  });
  addEventListener("resize", () => { show(); if (view === "entries") render(); });
  addEventListener("visibilitychange", () => { if (!document.hidden) tick(); });

  let ticking = false;
  async function tick() {
    if (ticking) return;
    ticking = true;
    try {
      await askNow();
      trouble("now", "");
      if (Date.now() - lastStore >= STORE_MS) askStore();
    } catch (error) {
      $("health").className = "pill bad";
      say("health-text", error.code === "closed" ? "closed" : "no answer");
      trouble("now", error.message);
    } finally { ticking = false; }
  }
  async function start() {
    try {
      const told = await caches_();
      trouble("now", "");
      fill($("cache"), ...told.caches.map((one) => el("option", { value: String(one.number) }, one.name)));
      $("open-purge").hidden = !bounds.may_change;
      makeHead();
      showView();
      document.body.classList.toggle("fits", view === "entries");
    if (view === "entries" && !table.listing) reload();
      await tick();
      setInterval(() => { if (!paused && !document.hidden) tick(); }, NOW_MS);
    } catch (error) {
      $("health").className = "pill bad";
      say("health-text", "no answer");
      trouble("now", error.message);
      setTimeout(start, NOW_MS);
    }
  }
  start();
})();
