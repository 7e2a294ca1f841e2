// Asking the server: the one place that knows of keys, of refusals, and of how a picture gets its bytes.
// Addresses are relative to the page, which lies beside `v1`, whatever path a proxy shows it under.

const KEY = "latentserve-key";

const AWAY = "The server does not answer";

// What the server said instead of an answer. `status` 0: it did not answer at all.
export class Refusal extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.detail ?? problem.title ?? `The server answered ${status}.`);
    this.status = status;
    this.type = problem.type ?? "";
    this.title = problem.title ?? `${status}`;
    this.field = problem.field;
    this.retryAfter = retryAfter;
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

function headers(more) {
  const held = key.get();
  return held ? { ...more, Authorization: `Bearer ${held}` } : more;
}

// A response whose status is good. `body` is sent as JSON, `file` as it is. Throws Refusal; AbortError where `signal` says so.
export async function ask(path, { body, file, accept, signal } = {}) {
  const asked = { headers: headers(accept ? { Accept: accept } : {}), signal };
  if (body !== undefined) {
    asked.method = "POST";
    asked.headers["Content-Type"] = "application/json";
    asked.body = JSON.stringify(body);
  }
  if (file !== undefined) {
    asked.method = "POST";
    asked.headers["Content-Type"] = file.type || "application/octet-stream";
    asked.body = file;
  }
  let response;
  try {
    response = await fetch(path, asked);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, { title: AWAY, detail: "Nothing listens there any more, or the network is down." });
  }
  if (response.ok) return response;
  let problem = {};
  try {
    problem = await response.json();
  } catch { // somebody in between says so, not the server
    if ([502, 503, 504].includes(response.status)) throw new Refusal(0, { title: AWAY, detail: `What is between here and the server says ${response.status}.` });
  }
  throw new Refusal(response.status, problem, Number(response.headers.get("Retry-After")) || undefined);
}

export const askJson = async (path, options) => (await ask(path, options)).json();

// float32 rows, their shape and their labels (undefined: none, or too many to tell), of what is asked for as `raw`.
export async function askNumbers(path, options) {
  const response = await ask(path, options);
  const shape = (response.headers.get("Latentserve-Shape") ?? "").split(",").map(Number);
  const labels = response.headers.get("Latentserve-Labels");
  return { shape, labels: labels ? JSON.parse(labels) : undefined, values: new Float32Array(await response.arrayBuffer()) };
}

// Let an <img> show what lies at an address: the browser asks for it by itself, unless a key has to go with it.
export async function setPicture(image, path) {
  image.dataset.wanted = path;
  if (!key.get()) {
    if (image.getAttribute("src") === path && image.complete && image.naturalWidth) return;
    image.src = path;
    try {
      return await image.decode();
    } catch {
      if (image.dataset.wanted !== path) return; // another one was asked for meanwhile
    }
  } // else it is asked for once more: either that says why it was refused, or it is there by now
  const made = URL.createObjectURL(await (await ask(path)).blob());
  if (image.dataset.wanted !== path) return URL.revokeObjectURL(made);
  image.src = made;
  await image.decode().catch(() => {});
  URL.revokeObjectURL(made);
}

// Save what is asked for as a file.
export async function save(name, path, options) {
  const blob = await (await ask(path, options)).blob();
  const address = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
  return blob.size;
}

// Where the server is, for commands that are copied.
export const base = () => new URL(".", document.baseURI.split("#")[0]).href.replace(/\/$/, "");
