// What is wrong, in one place.
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
