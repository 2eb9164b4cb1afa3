// Explain.
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
    el("h3", {}, "Stored for the URL"), kept.length ? el("ul", { class: "plain" }, ...kept) : el("p", { class: "hint" }, told.is_all ? "nothing" : ""),
    told.is_all ? null : el("p", { class: "hint" }, "The store is too large to be searched for more in time; the command aiohttp-cache ls --url does."),
  ].filter(Boolean);
}
