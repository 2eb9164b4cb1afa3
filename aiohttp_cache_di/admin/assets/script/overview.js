// The overview.
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
  if (stored && stored.entries !== null) facts.push(["holds", `${plural(stored.entries, "entry", "entries")}, ${size(stored.bytes_in_use)}${stored.bytes_on_disk === null ? "" : `, ${size(stored.bytes_on_disk)} on disk`}`]);
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
    say("t-stored", stored.entries === null ? "?" : count(stored.entries));
    say("t-stored-sub", stored.entries === null ? "too many to be counted in time" : `${size(stored.bytes_in_use)}${stored.bytes_on_disk === null ? "" : `, ${size(stored.bytes_on_disk)} on disk`}`);
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
  say("largest-note", told.largest === null ? "" : `${plural(told.hosts, "host", "hosts")} in ${told.is_all ? "the store" : `the part of the store that was read in ${took(told.took_s)}`}, ${clock(told.at)}`);
}

$("check").addEventListener("click", async () => {
  $("check").disabled = true;
  try {
    say("check-said", (await askStore("check", { body: {} })) ? "The store can be read and written." : "The store cannot be used.");
  } finally { $("check").disabled = false; }
});
