// What samples are asked for with: seed, label, conditions, truncation, how many, and which of them.

import { h, number } from "./elements.js";
import { filters } from "./filters.js";

const MANY_LABELS = 60; // of more, one is typed, and suggested
const STEPS = 1000;

// The form. `change(part)` is told what is wanted from now on, by name as the state has it.
export function controls(context, change) {
  const { now, model } = context;
  const filter = filters(now, model, change);
  const changed = (part) => {
    change(part);
    filter?.look();
  };
  const parts = [seed(now, change), model.labels && labels(now, model, changed)];
  if (model.conditions.length) parts.push(conditions(now, model, changed));
  parts.push(truncation(now, change), count(now, change, model.sample.kind), filter?.element, best(now, model, change));
  return h("form", { class: "controls", "aria-label": "What is asked for", on: { submit: (event) => event.preventDefault() } }, ...parts);
}

function seed(now, change) {
  const field = h("input", { id: "seed", type: "number", min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, value: now.seed, inputmode: "numeric" });
  field.addEventListener("input", () => {
    const value = Number(field.value);
    const good = field.value !== "" && Number.isSafeInteger(value) && value >= 0;
    field.setAttribute("aria-invalid", String(!good));
    if (good) change({ seed: value, offset: 0 });
  });
  const roll = () => {
    field.value = crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000;
    field.setAttribute("aria-invalid", "false");
    change({ seed: Number(field.value), offset: 0 });
  };
  const button = h("button", { type: "button", class: "main", id: "new-seed", on: { click: roll } }, "New seed");
  return h("div", { class: "field" }, h("label", { for: "seed" }, "Seed"), h("div", { class: "row" }, field, button));
}

function labels(now, model, change) {
  const title = h("label", { for: "label" }, "Label");
  const chosen = (value) => change({ label: value === "" ? undefined : value });
  if (model.label_count > MANY_LABELS) {
    const list = h("datalist", { id: "labels" }, ...model.labels.map((name) => h("option", { value: name })));
    const field = h("input", { id: "label", list: "labels", value: now.label ?? "", placeholder: "any, as drawn", autocomplete: "off" });
    field.addEventListener("change", () => chosen(field.value.trim()));
    return h("div", { class: "field" }, title, field, list, h("p", { class: "small" }, `One of ${number(model.label_count)}.`));
  }
  const any = h("option", { value: "", selected: now.label === undefined }, "any, as drawn");
  const select = h("select", { id: "label" }, any, ...model.labels.map((name) => h("option", { value: name, selected: name === now.label }, name)));
  select.addEventListener("change", () => chosen(select.value));
  return h("div", { class: "field" }, title, select);
}

function conditions(now, model, change) {
  const wanted = { ...now.condition };
  return h("fieldset", {}, h("legend", {}, "Conditions"), ...model.conditions.map((one) => condition(one, wanted, change)));
}

// A slider that goes as the prior does: evenly in the logarithm of a log-uniform one.
function condition(one, wanted, change) {
  const [low, high] = one.range;
  const logarithmic = one.prior === "log-uniform";
  const at = (place) => (logarithmic ? low * (high / low) ** (place / STEPS) : low + ((high - low) * place) / STEPS);
  const place = (value) => Math.round(STEPS * (logarithmic ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low)));
  const middle = at(STEPS / 2);
  const slider = h("input", { type: "range", min: 0, max: STEPS, value: place(wanted[one.name] ?? middle), "aria-label": one.name });
  const field = h("input", { type: "number", min: low, max: high, step: "any", id: `condition-${one.name}`, value: wanted[one.name] ?? "", placeholder: "drawn" });
  const free = h("button", { type: "button", class: "quiet", title: `Draw ${one.name} from its prior`, "aria-label": `Draw ${one.name} from its prior` }, "draw");
  const set = (value) => {
    if (value === undefined) delete wanted[one.name];
    else wanted[one.name] = value;
    free.disabled = value === undefined;
    slider.classList.toggle("idle", value === undefined);
    slider.setAttribute("aria-valuetext", value === undefined ? "drawn" : `${number(value)} ${one.unit ?? ""}`);
  };
  set(wanted[one.name]);
  slider.addEventListener("input", () => {
    const value = Math.min(Math.max(Number(at(Number(slider.value)).toPrecision(4)), low), high);
    field.value = value;
    field.setAttribute("aria-invalid", "false");
    set(value);
    change({ condition: { ...wanted } });
  });
  field.addEventListener("input", () => {
    const value = field.value === "" ? undefined : Number(field.value);
    const good = value === undefined || (value >= low && value <= high);
    field.setAttribute("aria-invalid", String(!good));
    if (!good) return;
    set(value);
    if (value !== undefined) slider.value = place(value);
    change({ condition: { ...wanted } });
  });
  free.addEventListener("click", () => {
    field.value = "";
    set(undefined);
    change({ condition: { ...wanted } });
  });
  const unit = one.unit ? h("span", { class: "unit" }, one.unit) : "";
  return h("div", { class: "field" }, h("label", { for: field.id }, one.name, " ", unit), h("div", { class: "row" }, field, free), slider,
    h("p", { class: "ends", "aria-hidden": "true" }, h("span", {}, number(low)), h("span", {}, number(high))));
}

function truncation(now, change) {
  const told = h("output", { for: "truncation" });
  const slider = h("input", { id: "truncation", type: "range", min: 0.05, max: 1, step: 0.05, value: now.truncation });
  const show = () => (told.textContent = Number(slider.value) === 1 ? "1 (all)" : slider.value);
  slider.addEventListener("input", () => {
    show();
    change({ truncation: Number(slider.value) });
  });
  show();
  return h("div", { class: "field" }, h("label", { for: "truncation" }, "Truncation"), told, slider,
    h("p", { class: "ends", "aria-hidden": "true" }, h("span", {}, "typical"), h("span", {}, "varied")));
}

function count(now, change, kind) {
  const offered = kind === "table" ? [25, 50, 100, 200, 400] : kind === "audio" ? [6, 9, 12, 24] : [9, 16, 24, 36, 64, 100];
  const all = [...new Set([...offered, now.n])].sort((one, other) => one - other);
  const select = h("select", { id: "count" }, ...all.map((n) => h("option", { value: n, selected: n === now.n }, n)));
  select.addEventListener("change", () => change({ n: Number(select.value) }));
  return h("div", { class: "field" }, h("label", { for: "count" }, "How many"), select);
}

function best(now, model, change) {
  const select = h("select", { id: "best", disabled: !model.critic }, ...[1, 2, 4, 8, 16].map((of) => h("option", { value: of, selected: of === now.best }, of === 1 ? "all, as they come" : `the best of ${of}`)));
  select.addEventListener("change", () => change({ best: Number(select.value) }));
  const why = model.critic ? "By the critic's score." : "This model was exported without a critic, so nothing scores its samples.";
  return h("div", { class: "field" }, h("label", { for: "best" }, "Choose"), select, h("p", { class: "small" }, why));
}
