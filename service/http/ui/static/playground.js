// The playground: a wall of samples, what they are asked for with, and what can be done with those that are kept.

import { failure } from "./failure.js";
import { controls } from "./controls.js";
import { debounce, h, number, tell, toast } from "./elements.js";
import { whereOf } from "./filters.js";
import { addressed, described, isLarge, makeTile, showFault } from "./kinds.js";
import { askJson } from "./server.js";
import { write } from "./state.js";
import { verdictLine } from "./verdict.js";

const USUAL = { image: 24, array: 24, audio: 9, table: 50 };
const LEAST = 9, MOST_NUMBERS = 1 << 22; // of samples that are large, not more than so many numbers are shown at first
const WAIT = 120; // milliseconds after the last change of a slider
const MOST_KEPT = 12;
const MOST_LABELS = 8, MOST_CONDITIONS = 4; // that the sentence above the wall names
const LONG = 32; // characters of a name in it

// Show it in `main`, until `signal` of the context says that it is left.
export async function show(main, context) {
  const { now, model } = context;
  const size = model.sample.shape.reduce((product, one) => product * one, 1);
  now.n ??= Math.min(USUAL[model.sample.kind], Math.max(LEAST, Math.floor(MOST_NUMBERS / size)));
  const wall = h("div", { class: `wall ${model.sample.kind}${isLarge(model.sample) ? " large" : ""}`, id: "wall", "aria-busy": "true" });
  const which = h("p", { class: "which-rows", id: "which-rows" });
  const panel = h("div", { id: "panel" });
  const kept = h("div", { id: "kept" });
  const play = { context, wall, which, panel, kept, tiles: [], aborted: new AbortController() };
  const later = debounce(() => refresh(play), WAIT);
  const change = (part) => {
    Object.assign(now, part);
    write(now);
    wall.setAttribute("aria-busy", "true");
    later();
  };
  const form = controls(context, change);
  const earlier = []; // where pages before began
  const previous = () => change({ offset: earlier.pop() ?? Math.max(0, now.offset - now.n) });
  const next = () => {
    earlier.push(now.offset);
    change({ offset: play.next });
  };
  play.previous = h("button", { type: "button", class: "quiet", id: "previous", on: { click: previous } }, "← Previous");
  const tools = h("div", { class: "tools" },
    which,
    h("div", { class: "row" },
      play.previous,
      h("button", { type: "button", class: "quiet", id: "next", on: { click: next } }, "Next →"),
      h("button", { type: "button", class: "quiet", id: "code", on: { click: async () => (await import("./code.js")).showCode(context) } }, "Use in code"),
      h("button", { type: "button", class: "quiet", id: "download", on: { click: async () => (await import("./code.js")).showDownload(context) } }, "Download"),
      h("button", { type: "button", class: "quiet", id: "link", on: { click: copyLink } }, "Copy link"),
    ),
    h("p", { class: "small hint" }, "Click one to keep it, and see what is around it; two, to go from one to the other."));
  main.replaceChildren(h("div", { class: "playground" },
    h("div", { class: "told" }, h("h1", {}, h("b", {}, model.name), " makes ", ...sentence(model), "."), verdictLine(model.name)),
    h("details", { class: "ask", open: matchMedia("(min-width: 52rem)").matches }, h("summary", {}, "Ask for"), form),
    h("section", { class: "stage", "aria-label": "Samples" }, panel, tools, wall, kept)));
  context.signal.addEventListener("abort", () => {
    play.aborted.abort();
    play.leavePanel?.();
  });
  showKept(play);
  await refresh(play);
}

function sentence(model) {
  const labels = model.labels ?? [];
  const listed = (names) => names.flatMap((name, place) => [place ? ", " : "", h("bdi", {}, name.length > LONG ? `${name.slice(0, LONG)}…` : name)]);
  const of = labels.length ? [`${model.sample.kind === "table" ? "," : ""} of ${number(model.label_count)} ${labels.length > 1 ? "labels" : "label"} (`, ...listed(labels.slice(0, MOST_LABELS)), labels.length > MOST_LABELS ? ", …)" : ")"] : [];
  const names = model.conditions.map((one) => one.name);
  const by = names.length ? [", for a given ", ...listed(names.slice(0, MOST_CONDITIONS)), names.length > MOST_CONDITIONS ? ` and ${names.length - MOST_CONDITIONS} more` : ""] : [];
  return [described(model.sample), ...of, ...by];
}

async function copyLink() {
  try {
    await navigator.clipboard.writeText(location.href);
    toast("The link is copied: it shows the same wall.");
  } catch {
    toast("The address of this page is the link: it shows the same wall.");
  }
}

// What is asked for, as /v1/samples has it, but for which rows.
export function fieldsOf({ now, model }) {
  const fields = {};
  if (now.model) fields.model = now.model;
  if (now.label !== undefined && model.labels) fields.label = now.label;
  const condition = Object.fromEntries(Object.entries(now.condition).filter(([name]) => model.conditions.some((one) => one.name === name)));
  if (Object.keys(condition).length) fields.condition = condition;
  if (now.truncation !== 1) fields.truncation = now.truncation;
  return fields;
}

// The same with its rows, and of which of them.
export function requestOf(context) {
  const { now, model } = context;
  const fields = { n: now.n, seed: now.seed, ...(now.offset ? { offset: now.offset } : {}), ...fieldsOf(context) };
  const where = whereOf(now);
  if (Object.keys(where).length) Object.assign(fields, { where, allow_fewer: true });
  if (now.best > 1 && model.critic) fields.select = { of: now.best };
  return fields;
}

export const searches = (fields) => "where" in fields || "select" in fields;

// The address of one row, beside `v1`, in a format.
export function rowPath({ model }, one) {
  return (format) => {
    const query = new URLSearchParams();
    if (one.row) query.set("offset", one.row);
    if (one.label !== undefined) query.set("label", one.label);
    for (const [name, value] of Object.entries(one.condition ?? {})) query.set(`condition.${name}`, value);
    if (one.truncation !== undefined) query.set("truncation", one.truncation);
    query.set("format", format);
    return `v1/models/${encodeURIComponent(model.name)}/versions/${model.version}/samples/${one.seed}?${query}`;
  };
}

async function refresh(play) {
  const { context, wall, which } = play;
  if (context.signal.aborted) return;
  play.aborted.abort();
  const aborted = (play.aborted = new AbortController());
  const { signal } = aborted;
  const { now, model } = context;
  const fields = requestOf(context);
  wall.setAttribute("aria-busy", "true");
  play.previous.disabled = now.offset === 0;
  try {
    const table = model.sample.kind === "table";
    const answer = table || searches(fields) ? await askJson("v1/samples?format=json", { body: fields, signal }) : null;
    const numbers = answer?.rows ?? Array.from({ length: answer ? answer.samples.length : now.n }, (_, place) => now.offset + place);
    const of = { ...(fields.label === undefined ? {} : { label: fields.label }), ...(fields.condition ? { condition: fields.condition } : {}), ...(fields.truncation ? { truncation: fields.truncation } : {}) };
    const addresses = numbers.map((row, place) => ({ seed: now.seed, row, ...of, ...(answer ? { known: knownOf(answer, place, fields, model) } : {}) }));
    play.next = answer?.next_offset ?? now.offset + now.n;
    which.textContent = told(now, fields, answer, numbers);
    if (!addresses.length) {
      play.tiles = [];
      wall.replaceChildren(h("p", { class: "empty" }, `None of the ${number(answer.looked_at)} rows that were looked at is such a one. Let more pass, or look at the next ones.`));
    } else if (table) {
      const { drawTable } = await import("./tables.js");
      wall.replaceChildren(drawTable(answer, model.sample, addresses, (one) => toggle(play, one), (one) => isKept(now, one)));
    } else {
      const failed = await fillWall(play, addresses, signal);
      if (failed) which.textContent += `; ${number(failed)} could not be made`;
    }
    tell(`${numbers.length} samples of seed ${now.seed} are shown.`);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.status === 404 && (await hasGone(model))) {
      if (signal.aborted) return;
      toast("The server has another version by now.");
      return context.again();
    }
    play.tiles = [];
    wall.replaceChildren(failure(error, () => refresh(play)));
  } finally {
    if (play.aborted === aborted) wall.setAttribute("aria-busy", "false");
  }
}

// Whether the server has it no more, or in another version.
async function hasGone({ name, version }) {
  try {
    const { models } = await askJson("ui/models.json");
    return !models.some((one) => one.name === name && one.version === version);
  } catch {
    return false; // the first failure says why
  }
}

// What an answer tells of a row beside its sample, as far as it was chosen by it.
function knownOf({ labels, conditions, scores }, place, { where = {} }, model) {
  const asked = model.conditions.filter(({ name }) => `$condition.${name}` in where);
  return {
    label: labels?.[place], score: scores?.[place],
    conditions: asked.map(({ name, unit }) => `${name} ${number(conditions[place][name])}${unit ? ` ${unit}` : ""}`),
  };
}

function told(now, fields, answer, numbers) {
  if (answer?.looked_at !== undefined) return `${number(numbers.length)} of the ${number(answer.looked_at)} rows of seed ${now.seed} that were looked at`;
  if (numbers.length === 1) return `Row ${number(numbers[0])} of seed ${now.seed}`;
  return `Rows ${number(numbers[0])} to ${number(numbers.at(-1))} of seed ${now.seed}`;
}

// As many tiles as there are addresses; those that are there already are kept, so that nothing flickers. Resolves to how
// many of them the generator could not make, where it could make others.
async function fillWall(play, addresses, signal) {
  const { context, wall } = play;
  while (play.tiles.length > addresses.length) play.tiles.pop();
  while (play.tiles.length < addresses.length) play.tiles.push(makeTile(context.model.sample, (tile) => toggle(play, tile.address)));
  const elements = play.tiles.map((tile) => tile.element);
  if (elements.length !== wall.children.length || elements.some((one, place) => wall.children[place] !== one)) wall.replaceChildren(...elements);
  const shown = play.tiles.map(async (tile, place) => {
    tile.button.setAttribute("aria-pressed", String(isKept(context.now, addresses[place])));
    showFault(tile, null);
    await tile.show(addresses[place], rowPath(context, addresses[place]), signal);
  });
  const results = await Promise.allSettled(shown);
  if (signal.aborted) return 0;
  const failed = results.map((one, place) => ({ error: one.reason, tile: play.tiles[place] })).filter(({ error }) => error);
  const other = failed.find(({ error }) => error.status !== 500);
  if (other || failed.length === results.length) throw (other ?? failed[0]).error;
  for (const { error, tile } of failed) showFault(tile, error);
  return failed.length;
}

const same = (one, other) => one.seed === other.seed && one.row === other.row && one.label === other.label
  && one.truncation === other.truncation && JSON.stringify(one.condition ?? {}) === JSON.stringify(other.condition ?? {});
const isKept = (now, one) => now.keep.some((other) => same(one, other));

function toggle(play, address) {
  const { now } = play.context;
  const { known, ...one } = address;
  if (isKept(now, one)) now.keep = now.keep.filter((other) => !same(one, other));
  else if (now.keep.length >= MOST_KEPT) return toast(`${MOST_KEPT} samples are kept already.`);
  else now.keep = [...now.keep, one];
  write(now);
  showKept(play);
  tell(isKept(now, one) ? `Kept: ${addressed(one)}.` : `Not kept any more: ${addressed(one)}.`);
}

// The tray of those that are kept, and what can be done with them.
function showKept(play) {
  const { context, kept } = play;
  const { now, model } = context;
  for (const tile of play.tiles) if (tile.address) tile.button.setAttribute("aria-pressed", String(isKept(now, tile.address)));
  for (const button of play.wall.querySelectorAll("table button[aria-pressed]")) button.setAttribute("aria-pressed", String(now.keep.some((one) => one.seed === now.seed && `${one.row}` === button.textContent)));
  if (!now.keep.length) {
    kept.replaceChildren();
    if (play.leavePanel) close(play);
    return;
  }
  const thumbs = now.keep.map((one) => {
    const remove = () => toggle(play, one);
    if (model.sample.kind === "table") return h("button", { type: "button", class: "quiet", title: "Do not keep it", "aria-label": `Do not keep ${addressed(one)}`, on: { click: remove } }, `${one.seed}/${one.row} ✕`);
    const tile = makeTile(model.sample, remove);
    tile.button.setAttribute("aria-pressed", "true");
    tile.show(one, rowPath(context, one)).catch((error) => toast(error.message, "bad"));
    tile.button.title = "Do not keep it";
    return tile.element;
  });
  const open = (kind) => async () => {
    const { openBetween, openAround } = await import("./derived.js");
    play.leavePanel?.();
    play.leavePanel = await (kind === "between" ? openBetween : openAround)(play.panel, context, now.keep, () => close(play));
    play.panel.scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  };
  const hint = now.keep.length === 1 ? "Keep another one, and go from the one to the other." : "";
  kept.replaceChildren(h("section", { class: "kept", "aria-label": "Kept" },
    h("h2", {}, "Kept"), h("div", { class: "thumbs" }, ...thumbs),
    h("div", { class: "row" },
      h("button", { type: "button", class: "main", id: "between", disabled: now.keep.length < 2, on: { click: open("between") } }, "Interpolate"),
      h("button", { type: "button", class: now.keep.length === 1 ? "main" : "", id: "around", on: { click: open("around") } }, "Vary"),
      h("button", { type: "button", class: "quiet", id: "clear", on: { click: () => ((now.keep = []), write(now), showKept(play)) } }, "Clear")),
    hint && h("p", { class: "small" }, hint)));
}

function close(play) {
  play.leavePanel?.();
  play.leavePanel = undefined;
  play.panel.replaceChildren();
}
