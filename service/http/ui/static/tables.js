// Rows of a table, and what their columns are like: a small picture and the figures above each.

import { h, number, s } from "./elements.js";

const BARS = 16, MOST_BARS = 6;
const LONG = 40; // characters: of longer texts the rest is told when somebody points at them

// `answer` is JSON of /v1/samples; `keep(address)` is called with the row that is clicked.
export function drawTable(answer, sample, addresses, keep, kept) {
  const columns = sample.columns.map((one) => (typeof one === "string" ? { name: one } : one));
  const beside = besides(answer);
  const head = h("tr", {}, h("th", { scope: "col" }, "row"), ...beside.map(({ name }) => h("th", { scope: "col", class: "beside" }, name)),
    ...columns.map(({ name }) => h("th", { scope: "col", dir: "auto", title: name.length > LONG ? name : null }, name)));
  const summaries = h("tr", { class: "summaries" }, h("td", {}, `${number(answer.samples.length)} rows`), ...beside.map(({ values }) => h("td", {}, summary(values))),
    ...columns.map((_, place) => h("td", {}, summary(answer.samples.map((row) => row[place])))));
  const body = answer.samples.map((row, place) => {
    const one = addresses[place];
    const button = h("button", { type: "button", class: "quiet", "aria-pressed": String(kept(one)), "aria-label": `Keep seed ${one.seed}, row ${one.row}`, on: { click: () => keep(one, button) } }, `${one.row}`);
    return h("tr", {}, h("th", { scope: "row" }, button), ...beside.map(({ values }) => cell(values[place])), ...row.map((value, at) => cell(value, columns[at])));
  });
  return h("div", { class: "sheet", tabindex: 0, role: "region", "aria-label": "Rows" }, h("table", {}, h("thead", {}, head, summaries), h("tbody", {}, ...body)));
}

// What is told of rows beside their samples, as columns.
function besides({ labels, conditions, scores }) {
  const found = labels ? [{ name: "label", values: labels }] : [];
  if (conditions?.length) found.push(...Object.keys(conditions[0]).map((name) => ({ name, values: conditions.map((one) => one[name]) })));
  return scores ? [...found, { name: "score", values: scores }] : found;
}

export const cell = (value, column) => h("td", { class: typeof value === "number" ? "number" : "", dir: typeof value === "string" ? "auto" : null, title: String(value).length > LONG ? value : null }, shown(value, column));

// A value as the column has it: whole numbers and decimals that are its own as they are, others to five figures.
export function shown(value, column) {
  if (value === null) return h("span", { class: "missing" }, "missing");
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) || column?.decimals !== undefined) return String(value || 0);
  return String(Number(value.toPrecision(5)) || 0);
}

function summary(values) {
  const there = values.filter((value) => value !== null);
  const missing = values.length - there.length;
  const gaps = missing ? h("p", {}, `${number((100 * missing) / values.length, 2)} % missing`) : "";
  if (!there.length) return gaps;
  return h("div", { class: "summary" }, ...(there.every((value) => typeof value === "number") ? ofNumbers(there) : ofCategories(there)), gaps);
}

const figure = (value) => (Number.isInteger(value) ? String(value || 0) : number(value)); // years have no commas

function ofNumbers(values) {
  const least = Math.min(...values), most = Math.max(...values);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const counts = new Array(BARS).fill(0);
  for (const value of values) counts[Math.min(BARS - 1, Math.floor(((value - least) / (most - least || 1)) * BARS))] += 1;
  const top = Math.max(...counts);
  const words = `mean ${number(mean)}, from ${number(least)} to ${number(most)}`;
  const bars = counts.map((count, place) => s("rect", { x: place * 6, y: 28 - (count / top) * 28, width: 5, height: (count / top) * 28 }));
  return [s("svg", { viewBox: `0 0 ${BARS * 6} 28`, role: "img", "aria-label": `Distribution: ${words}` }, ...bars), h("p", {}, `⌀ ${number(mean)}`), h("p", {}, `${figure(least)} … ${figure(most)}`)];
}

function ofCategories(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  const ordered = [...counts].sort((one, other) => other[1] - one[1]);
  const first = ordered.slice(0, MOST_BARS);
  return [h("ul", {}, ...first.map(([value, count]) => {
    const share = (100 * count) / values.length;
    return h("li", { style: { "--share": `${share}%` } }, h("span", {}, String(value)), h("span", {}, `${number(share, 2)} %`));
  })), ordered.length > MOST_BARS ? h("p", {}, `and ${ordered.length - MOST_BARS} more`) : ""];
}
