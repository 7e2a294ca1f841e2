// Whether all is well, in a dot beside the link to the page on it, and in a sentence where a page has room for one.

import { h } from "./elements.js";
import { askJson, key } from "./server.js";

const STATES = { none: "well", not_enough_samples: "early" };
const TITLES = { well: "All is well", early: "No verdict yet", changed: "Something has changed" };
let models = [];
let refused; // the key that may not know, null: none was sent

export const stateOf = (cause) => STATES[cause] ?? "changed";

// A line on one model, which is kept up to date.
export function verdictLine(name) {
  const line = h("p", { class: "verdict-line", dataset: { model: name } });
  fill(line);
  return line;
}

function fill(line) {
  const own = models.find((one) => one.model === line.dataset.model);
  if (!own) return line.replaceChildren();
  const state = stateOf(own.cause);
  line.replaceChildren(h("span", { class: "dot", dataset: { state } }), h("a", { href: `#health?model=${encodeURIComponent(own.model)}` }, TITLES[state]), ` ${own.sentence}`);
}

export async function look() {
  if (document.hidden || refused === key.get()) return;
  refused = undefined;
  const dot = document.getElementById("dot");
  try {
    ({ models } = await askJson("v1/drift"));
    const worst = models.find((one) => stateOf(one.cause) === "changed") ?? models.find((one) => one.cause !== "none") ?? models[0];
    dot.dataset.state = worst ? stateOf(worst.cause) : "unknown";
    dot.title = worst?.sentence ?? "";
  } catch (error) {
    models = [];
    if (error.status === 401 || error.status === 403) refused = key.get();
    dot.dataset.state = "unknown";
    dot.title = refused === undefined ? "The server does not answer" : "Only with a key";
  }
  document.getElementById("dot-told").textContent = dot.title && `: ${dot.title}`;
  for (const line of document.querySelectorAll(".verdict-line")) fill(line);
}
