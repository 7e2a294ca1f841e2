// Rows of a table, and what their columns are like: a small picture and the figures above each.

import { h, number, s } from "./elements.js";

const BARS = 16, MOST_BARS = 6;

// `answer` is JSON of /v1/samples; `keep(address)` is called with the row that is clicked.
export function drawTable(answer, sample, addresses, keep, kept) {
  const columns = sample.columns.map((one) => (typeof one === "string" ? { name: one } : one));
  const head = h("tr", {}, h("th", { scope: "col" }, "row"), answer.labels && h("th", { scope: "col" }, "label"), ...columns.map((column) => h("th", { scope: "col" }, column.name)));
  const summaries = h("tr", { class: "summaries" }, h("td", {}, `${number(answer.samples.length)} rows`), answer.labels && h("td", {}, summary(answer.labels)),
    ...columns.map((_, place) => h("td", {}, summary(answer.samples.map((row) => row[place])))));
  const body = answer.samples.map((row, place) => {
    const one = addresses[place];
    const button = h("button", { type: "button", class: "quiet", "aria-pressed": String(kept(one)), "aria-label": `Keep seed ${one.seed}, row ${one.row}`, on: { click: () => keep(one, button) } }, `${one.row}`);
    return h("tr", {}, h("th", { scope: "row" }, button), answer.labels && h("td", {}, answer.labels[place]), ...row.map((value) => h("td", { class: typeof value === "number" ? "number" : "" }, shown(value))));
  });
  return h("div", { class: "sheet", tabindex: 0, role: "region", "aria-label": "Rows" }, h("table", {}, h("thead", {}, head, summaries), h("tbody", {}, ...body)));
}

export const shown = (value) => (value === null ? h("span", { class: "missing" }, "missing") : typeof value === "number" ? number(value, 5) : String(value));

function summary(values) {
  const there = values.filter((value) => value !== null);
  const missing = values.length - there.length;
  const gaps = missing ? h("p", {}, `${number((100 * missing) / values.length, 2)} % missing`) : "";
  if (!there.length) return gaps;
  return h("div", { class: "summary" }, ...(there.every((value) => typeof value === "number") ? ofNumbers(there) : ofCategories(there)), gaps);
}

function ofNumbers(values) {
  const least = Math.min(...values), most = Math.max(...values);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const counts = new Array(BARS).fill(0);
  for (const value of values) counts[Math.min(BARS - 1, Math.floor(((value - least) / (most - least || 1)) * BARS))] += 1;
  const top = Math.max(...counts);
  const words = `mean ${number(mean)}, from ${number(least)} to ${number(most)}`;
  const bars = counts.map((count, place) => s("rect", { x: place * 6, y: 28 - (count / top) * 28, width: 5, height: (count / top) * 28 }));
  return [s("svg", { viewBox: `0 0 ${BARS * 6} 28`, role: "img", "aria-label": `Distribution: ${words}` }, ...bars), h("p", {}, `⌀ ${number(mean)}`), h("p", {}, `${number(least)} … ${number(most)}`)];
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
