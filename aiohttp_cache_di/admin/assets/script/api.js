// The API.
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
    await askCaches();
    return api(path, { body, signal }, false);
  }
  if (refused) throw new Failure(response.status, refused.code, refused.message);
  if (response.status === 401 || response.status === 403 || response.redirected || response.ok)
    throw new Failure(response.status, "login", "The service does not let you in any more: reload the page.");
  throw new Failure(response.status, "http", `The service answers with status ${response.status}.`);
}
const ofCache = (path, options) => api(`caches/${number}/${path}`, options);

async function askCaches() {
  const told = await api("caches");
  token = told.token;
  bounds = told.bounds;
  caches = told.caches;
  return told;
}
