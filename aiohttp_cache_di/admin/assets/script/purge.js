// Purge: what would go is counted before anything can.
const SELECT = ["url", "host", "match", "tag", "partition", "older_than", "larger_than"];
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
