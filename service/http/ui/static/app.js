// The page as a whole: which of its pages is shown, of which model, and whether all is well.

import { h } from "./elements.js";
import { failure } from "./failure.js";
import { Refusal, askJson } from "./server.js";
import * as state from "./state.js";
import * as playground from "./playground.js";
import { look } from "./verdict.js";

const PAGES = {
  play: { title: "Playground", load: async () => playground },
  model: { title: "Model", load: () => import("./model.js") },
  health: { title: "Health", load: () => import("./health.js") },
  verify: { title: "Verify", load: () => import("./verify.js") },
};
const LOOK_SECONDS = 10; // at the verdict, for the dot
const main = document.getElementById("main");
let leaving = new AbortController(); // of the page that is shown, from when it is asked for
let seen; // the page that was shown last
let wall; // the address of the one that was seen last, while another page is

async function show() {
  const now = state.read();
  leaving.abort();
  const { signal } = (leaving = new AbortController());
  try {
    const { models, max_n: maxN } = await askJson("ui/models.json", { signal });
    const model = models.find((one) => one.name === now.model) ?? models[0];
    now.model = models.length > 1 ? model?.name : undefined;
    if (!model) throw new Refusal(503, { title: "Nothing is served yet", detail: "The models are being loaded." }, 2);
    offer(models, now, model);
    document.title = `${model.name} · ${PAGES[now.page].title} · latentserve`;
    const page = await PAGES[now.page].load();
    if (signal.aborted) return;
    if (seen !== undefined && seen !== now.page) scrollTo(0, 0); // it begins at its top, wherever the other one was left
    seen = now.page;
    await page.show(main, { now, model, models, maxN, again: show, signal });
  } catch (error) {
    if (!signal.aborted) main.replaceChildren(failure(error, show));
  }
}

function offer(models, now, model) {
  if (now.page === "play") wall = undefined;
  const which = document.getElementById("model");
  document.getElementById("which").hidden = models.length < 2;
  which.replaceChildren(...models.map((one) => h("option", { value: one.name, selected: one === model }, one.name)));
  for (const link of document.querySelectorAll("#pages a")) {
    const page = link.dataset.page;
    link.href = page === "play" && wall && wall.model === now.model ? wall.fragment : `#${page}${now.model ? `?model=${encodeURIComponent(now.model)}` : ""}`;
    if (page === now.page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function theme() {
  const dark = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const other = dark === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = other;
  localStorage.setItem("latentserve-theme", other);
}

const chosen = localStorage.getItem("latentserve-theme");
if (chosen) document.documentElement.dataset.theme = chosen;
document.getElementById("theme").addEventListener("click", theme);
document.getElementById("skip").addEventListener("click", () => main.focus());
document.getElementById("model").addEventListener("change", (event) => {
  location.hash = `#${state.read().page}?model=${encodeURIComponent(event.target.value)}`;
});
document.getElementById("pages").addEventListener("click", () => {
  const now = state.read();
  if (now.page === "play") wall = { model: now.model, fragment: location.hash || "#play" };
});
window.addEventListener("hashchange", show);
document.addEventListener("visibilitychange", look);
show();
look();
setInterval(look, LOOK_SECONDS * 1000);
