// Samples of one worker, or of all that have answered.
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
