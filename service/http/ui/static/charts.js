// Bars and lines, as SVG.

import { h, number, s } from "./elements.js";

export const COLOURS = ["var(--chart)", "light-dark(#b4560f, #f0a35e)", "light-dark(#5b4fc0, #a79bff)", "light-dark(#a02c6d, #f084bd)", "light-dark(#2a6fb0, #7ab8f0)", "light-dark(#6b6f1c, #c9cf5c)"];

// Bars of shares. `even`: the share that each would have, as a dashed line, with the `band` around it that chance allows.
export function bars(values, words, { even, band = 0, odd = () => false, height = 64 } = {}) {
  const width = 200, step = width / Math.max(values.length, 1);
  const top = Math.max(...values, (even ?? 0) * 2, 1e-9);
  const y = (value) => height - (value / top) * height;
  const drawn = values.map((value, place) => s("rect", { x: place * step + step * 0.08, y: y(value), width: step * 0.84, height: Math.max(0.5, height - y(value)), class: odd(value, place) ? "bar odd" : "bar" }));
  const least = y(Math.max(0, (even ?? 0) - band)), most = Math.max(0, y((even ?? 0) + band));
  const chance = band ? s("rect", { x: 0, y: most, width, height: Math.max(1, least - most), class: "band" }) : "";
  const line = even === undefined ? "" : s("line", { x1: 0, x2: width, y1: y(even), y2: y(even), class: "reference" });
  return s("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": words }, chance, ...drawn, line, s("line", { x1: 0, x2: width, y1: height, y2: height, class: "axis" }));
}

// Lines over time, `[{name, values}]` at `ago` seconds, below a threshold that is named; as wide as there is room.
export function lines(series, ago, threshold, words, width) {
  const height = 210, left = 34, right = 8, above = 14, below = 20;
  const most = Math.max(threshold * 1.12, ...series.flatMap((one) => one.values)), longest = Math.max(...ago, 60);
  const x = (seconds) => width - right - (seconds / longest) * (width - left - right);
  const y = (value) => height - below - (value / most) * (height - above - below);
  const told = (seconds) => (seconds >= 120 ? `${Math.round(seconds / 60)} min ago` : `${Math.round(seconds)} s ago`);
  const marks = [longest, longest / 2].map((seconds) => s("text", { x: Math.max(x(seconds), left), y: height - 5 }, told(seconds)));
  return h("div", {}, s("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": words },
    s("line", { x1: left, x2: width - right, y1: y(0), y2: y(0), class: "axis" }),
    s("line", { x1: left, x2: width - right, y1: y(threshold), y2: y(threshold), class: "threshold" }),
    s("text", { x: left + 4, y: y(threshold) - 4 }, `alarm at ${number(threshold)}`), s("text", { x: 4, y: y(0) + 4 }, "0"), ...marks,
    s("text", { x: width - right, y: height - 5, "text-anchor": "end" }, "now"),
    ...series.map((one, place) => s("polyline", { points: one.values.map((value, step) => `${x(ago[step]).toFixed(1)},${y(value).toFixed(1)}`).join(" "), style: { stroke: COLOURS[place % COLOURS.length] } }))),
  h("ul", { class: "legend" }, ...series.map((one, place) => h("li", { style: { "--colour": COLOURS[place % COLOURS.length] } }, one.name))));
}

// The value below which a share of a histogram's observations lie, as Prometheus has it; null of an empty one.
export function quantile({ bounds, counts }, share) {
  const total = counts.reduce((sum, one) => sum + one, 0);
  if (!total) return null;
  let below = 0;
  for (const [place, count] of counts.entries()) {
    if (count && below + count >= share * total) {
      const low = place ? bounds[place - 1] : 0;
      const high = bounds[place] ?? low; // infinity is null
      return low + (high - low) * Math.max(0, (share * total - below) / count);
    }
    below += count;
  }
  return bounds.findLast((one) => one !== null);
}
