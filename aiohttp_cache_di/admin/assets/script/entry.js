// One entry.
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
