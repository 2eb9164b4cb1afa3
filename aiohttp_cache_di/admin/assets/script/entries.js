// Entries: rows for what is in sight, pages of what is near it.
const COLUMNS = [
  ["method", "Method", "c-method"], ["url", "URL", "c-url"], ["status", "Status", "c-status"], ["type", "Type", "c-type"],
  ["size", "Size", "n"], ["stored", "Stored", "n c-stored"], ["fresh", "Fresh", "n c-fresh"], ["partition", "For", "c-partition"],
];
const DOWN_FIRST = new Set(["size", "stored", "fresh"]);
const table = { sort: "stored", order: "desc", listing: "", total: 0, reachable: 0, is_all: true, pages: new Map(), asked: new Map(), generation: 0, active: -1, rows: new Map(), now: 0, at: 0, open: null };
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
    Object.assign(table, { listing: told.listing, total: told.total, reachable: told.reachable, is_all: told.is_all, now: told.now, at: told.at, body_bytes: told.body_bytes });
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
  const part = table.is_all ? "" : " in the part of the store that could be read in time";
  say("count", `${plural(table.total, "entry", "entries")}, ${size(table.body_bytes)}${part}${left}, at ${clock(table.at)}`);
  grid.setAttribute("aria-rowcount", String(table.reachable + 1));
  $("nothing").hidden = table.total > 0;
  say("nothing", FIELDS.some((name) => $(name).value.trim()) ? table.is_all ? "Nothing that is stored meets all of this." : "Nothing in the part of the store that could be read in time meets all of this." : "Nothing is stored yet.");
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
