// What rows are to be like, `where`: a table's columns, the label and the conditions that were drawn for a row, and the
// critic's score of it.

import { h, number } from "./elements.js";

const MANY = 60; // values: of more, those that are chosen are shown, and another one is named
const LABEL = "$label", SCORE = "$score", CONDITION = "$condition.";

// What there is to filter by: by its `name` in `where` a `title`; and either `values`, of which some are chosen, or
// `ends`, that are hinted at. `written`: its values are texts; `gaps`: some are missing; `more`: values that are not told.
function filterable({ sample, labels, label_count: count, conditions, critic }) {
  const columns = (sample.columns ?? []).map((one) => (typeof one === "string" ? { name: one } : one));
  const times = Map.groupBy(columns, ({ name }) => name);
  const found = columns.filter(({ name }) => times.get(name).length === 1 && name !== LABEL && name !== SCORE && !name.startsWith(CONDITION)).map(ofColumn);
  if (labels) found.push({ name: LABEL, title: "label, as drawn", values: labels, more: count - labels.length });
  for (const { name, range, unit } of conditions) found.push({ name: CONDITION + name, title: `${name}, as drawn${unit ? ` (${unit})` : ""}`, ends: range });
  if (critic) found.push({ name: SCORE, title: "the critic's score" });
  return found;
}

function ofColumn({ name, categories, missing, form }) {
  if (!categories) return { name, title: name, written: Boolean(form), gaps: missing !== undefined };
  const values = categories.filter((value) => value !== null), gaps = values.length < categories.length;
  const ordered = values.length > MANY && values.every((value) => typeof value === "number");
  return { name, title: name, gaps, ...(ordered ? { ends: [Math.min(...values), Math.max(...values)] } : { values }) };
}

// What all rows are asked to have leaves nothing to choose by.
const settled = (now, name) => (name === LABEL ? now.label !== undefined : name.startsWith(CONDITION) && name.slice(CONDITION.length) in now.condition);

// `where` as /v1/samples takes it: without what was not filled in.
export function whereOf(now) {
  const found = {};
  for (const [name, { in: values, ...others }] of Object.entries(now.where)) {
    const one = values?.length ? { ...others, in: values } : others;
    if (Object.keys(one).length && !settled(now, name)) found[name] = one;
  }
  return found;
}

// The form of it, and `look`, to be called when something else is asked for. Null: there is nothing to filter by.
export function filters(now, model, change) {
  const where = structuredClone(now.where);
  const subjects = filterable(model);
  if (!subjects.length && !Object.keys(where).length) return null;
  const list = h("div", { class: "filters" });
  const tell = () => change({ where: structuredClone(where), offset: 0 });
  const add = h("select", { id: "add-filter" });
  const offer = () => add.replaceChildren(h("option", { value: "" }, "Add a filter …"),
    ...subjects.filter(({ name }) => !(name in where)).map(({ name, title }) => h("option", { value: name, disabled: settled(now, name) }, title)));
  const look = () => {
    offer();
    for (const one of list.children) {
      const idle = settled(now, one.dataset.name);
      one.querySelector(".inside").disabled = idle;
      one.querySelector(".idle").hidden = !idle;
    }
  };
  const show = () => {
    list.replaceChildren(...Object.keys(where).map((name) => {
      const subject = subjects.find((one) => one.name === name) ?? { name, title: name };
      const remove = h("button", { type: "button", class: "quiet icon", "aria-label": `Remove the filter on ${subject.title}`, on: { click: () => (delete where[name], show(), tell(), add.focus()) } }, "✕");
      return h("fieldset", { class: "filter", dataset: { name } }, h("legend", { dir: "auto" }, subject.title), remove,
        h("fieldset", { class: "inside" }, subject.values ? among(subject, where[name], tell) : between(subject, where[name], tell), subject.gaps && gaps(subject, where[name], tell)),
        h("p", { class: "small idle" }, "It is asked for above: all rows have it."));
    }));
    look();
  };
  add.addEventListener("change", () => {
    if (!add.value) return;
    where[add.value] = {};
    show();
    list.lastChild.querySelector(".inside input")?.focus();
  });
  show();
  return { element: h("div", { class: "field" }, h("label", { for: "add-filter" }, "Only rows where"), list, add), look };
}

function between({ title, ends, written }, one, tell) {
  return h("div", { class: "row" }, ...[["min", "from"], ["max", "to"]].map(([member, word], place) => {
    const kind = written ? { type: "text" } : { type: "number", step: "any" };
    const field = h("input", { ...kind, value: one[member] ?? "", placeholder: ends ? `${word} ${number(ends[place])}` : word, "aria-label": `${title} ${word}` });
    field.addEventListener("change", () => {
      if (field.value === "") delete one[member];
      else one[member] = written ? field.value : Number(field.value);
      tell();
    });
    return field;
  }));
}

function among({ title, values, more = 0 }, one, tell) {
  const list = h("div", { class: "among" });
  const chosen = new Set(one.in ?? []);
  const few = values.length + more <= MANY;
  const choose = (value, wanted) => {
    if (wanted) chosen.add(value);
    else chosen.delete(value);
    one.in = [...chosen];
    tell();
  };
  const show = () => list.replaceChildren(...(few ? values : [...chosen]).map((value) => {
    const box = h("input", { type: "checkbox", checked: chosen.has(value), on: { change: () => choose(value, box.checked) } });
    return h("label", {}, box, " ", h("bdi", {}, String(value)));
  }));
  show();
  if (few) return list;
  const names = h("datalist", { id: `values-of-${title}` }, ...values.map((value) => h("option", { value: String(value) })));
  const field = h("input", { list: names.id, placeholder: `one of ${number(values.length + more)}`, autocomplete: "off", "aria-label": `One more ${title}` });
  field.addEventListener("change", () => {
    const text = field.value.trim();
    const value = values.find((known) => String(known) === text) ?? (more ? text : undefined);
    field.setAttribute("aria-invalid", String(text !== "" && value === undefined));
    if (text === "" || value === undefined) return;
    field.value = "";
    choose(value, true);
    show();
  });
  return h("div", {}, list, field, names);
}

// Missing values pass beside what else is asked for; where nothing is, they do alone.
function gaps({ title }, one, tell) {
  const box = h("input", { type: "checkbox", checked: one.missing === true, "aria-label": `${title} missing` });
  box.addEventListener("change", () => {
    if (box.checked) one.missing = true;
    else delete one.missing;
    tell();
  });
  return h("label", { class: "gaps" }, box, " ", h("span", { class: "missing" }, "missing"));
}
