// Moving about.
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
    const told = await askCaches();
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
