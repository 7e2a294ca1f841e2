// Whether the model is well: the verdict on drift with what is behind it, and how serving does. All of it comes as one
// document, which the server makes once a second at the most, however many look.

import { bars, lines, quantile } from "./charts.js";
import { bytes, h, number, seconds } from "./elements.js";
import { failure } from "./failure.js";
import { Refusal, askJson } from "./server.js";

const POLL = 2_000, IDLE = 10_000; // milliseconds: while something changes, and while nothing does
const QUIET = 3; // polls without a change
const VERDICTS = {
  none: ["well", "✓", "All is well"],
  not_enough_samples: ["early", "…", "Not enough samples yet"],
  weights_or_hardware: ["changed", "!", "The model computes something else"],
  client_latents: ["changed", "!", "A client sends other latents"],
  label_mix: ["changed", "!", "Labels are asked for in another mix"],
  condition_mix: ["changed", "!", "Conditions are asked for in another mix"],
  stale_reference: ["changed", "!", "The real data has moved on"],
  unknown: ["changed", "!", "The samples have changed"],
};
const RUNBOOKS = { weights_or_hardware: "LatentserveGoldenProbeMismatch", stale_reference: "LatentserveReferenceStale" };
const DETECTORS = {
  generated: "samples of the server's own seeds", joint: "features together", asked: "samples of clients' seeds", latents: "clients' latents",
  labels: "mix of labels", conditions: "mix of conditions",
};
const STAGES = { request: "request", queue: "wait", inference: "engine", encode: "encoding" };
const ARMS = { all: "all", server: "the server's seeds", client: "clients' seeds and latents", control: "control samples" };
const DEVIATIONS = 4; // of a bin from its share, that chance hardly ever makes

export async function show(main, { model, signal }) {
  let timer, latest, before, unchanged = 0, arm = "all";
  const runbooks = await askJson("ui/runbooks.json", { signal });
  const choose = (chosen) => {
    arm = chosen;
    draw();
  };
  const draw = () => {
    const own = latest.models.find((one) => one.model === model.name);
    if (!own) throw new Refusal(503, { title: "Nothing is known yet", detail: "The models are being loaded." });
    const fresh = h("div", { class: "health" }, ...parts(model, latest, own, before, runbooks, arm, choose, main.clientWidth - parseFloat(getComputedStyle(main).paddingLeft) * 2));
    const shown = main.querySelector(".health");
    if (shown) update(shown, fresh);
    else main.replaceChildren(fresh);
  };
  const look = async () => {
    if (signal.aborted) return;
    if (!document.hidden) {
      try {
        const now = await askJson("ui/health.json", { signal });
        unchanged = latest && key(latest) === key(now) ? unchanged + 1 : 0;
        [before, latest] = [latest, now];
        draw();
      } catch (error) {
        if (signal.aborted) return;
        latest = undefined;
        main.replaceChildren(failure(error, look));
        return;
      }
    }
    clearTimeout(timer);
    timer = setTimeout(look, document.hidden || unchanged >= QUIET ? IDLE : POLL);
  };
  const seen = () => !document.hidden && (clearTimeout(timer), (unchanged = 0), look());
  document.addEventListener("visibilitychange", seen, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  await look();
}

// Put in the place of each section that is another now the fresh one: what is read, scrolled or selected elsewhere stays.
function update(shown, fresh) {
  for (const section of [...fresh.querySelectorAll("section")]) {
    const old = document.getElementById(section.id);
    if (!old) return shown.replaceWith(fresh);
    const open = old.querySelector("details[open]"), scrolled = old.querySelector(".sheet")?.scrollTop;
    if (open) section.querySelector("details")?.setAttribute("open", "");
    if (old.outerHTML === section.outerHTML) continue;
    const focused = old.contains(document.activeElement) && document.activeElement.id;
    old.replaceWith(section);
    if (scrolled) section.querySelector(".sheet").scrollTop = scrolled;
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }
}

// What changes where something is served, of a document.
const key = ({ models }) => JSON.stringify(models.map(({ samples, verdict, queue, requests }) => [samples, verdict.cause, queue, requests]));

function parts(model, now, own, before, runbooks, arm, choose, width) {
  const earlier = before?.models.find((one) => one.model === own.model);
  const sections = [
    sentence(own.verdict, own), figures(now, own, earlier, before), evidence(own, Math.max(300, width - 42)), signals(own, arm, choose), probes(own), labels(own), ...conditions(own, model),
    batch(own), latency(own), workers(now), books(runbooks),
  ];
  sections.forEach((section, place) => (section.id = `part-${place}`));
  return [...sections.slice(0, 2), h("div", { class: "columns" }, ...sections.slice(2))];
}

function sentence(verdict, own) {
  const [state, sign, title] = VERDICTS[verdict.cause] ?? ["changed", "!", verdict.cause];
  const age = verdict.age_seconds === null ? "Nothing was judged yet." : `Judged ${verdict.age_seconds} s ago, from ${number(rowsOf(verdict))} rows.`;
  const clears = Object.values(verdict.evidence.alarms ?? {}).map((one) => one.clears_at_row).filter(Boolean);
  const more = clears.length ? ` Unless it goes on, it clears at row ${number(Math.max(...clears))}.` : "";
  const book = state === "changed" ? h("a", { href: `ui/runbooks/${RUNBOOKS[verdict.cause] ?? "LatentserveCauseNamed"}` }, "What to do") : null;
  return h("section", { class: "verdict", dataset: { state }, "aria-label": "Verdict" },
    h("span", { class: "sign", "aria-hidden": "true" }, sign), h("h1", {}, title), h("p", { id: "sentence" }, own.ready === 0 ? "The model is not ready: it answers nothing. " : "", verdict.sentence),
    h("p", { class: "small" }, age, more, " ", book));
}

const rowsOf = (verdict) => Object.values(verdict.evidence.rows ?? {}).reduce((sum, one) => sum + one, 0);
const sum = (values) => Object.values(values).reduce((total, one) => total + one, 0);

function figures(now, own, earlier, before) {
  const passed = before ? now.made - before.made : 0;
  const rate = (of, then) => (earlier && passed > 0 ? `${number(Math.max(0, (of - then) / passed), 2)} /s` : "–");
  const good = Object.entries(own.requests).filter(([code]) => Number(code) < 500 && code !== "429").reduce((total, [, count]) => total + count, 0);
  const all = sum(own.requests);
  const shown = [
    ["samples now", rate(sum(own.samples), earlier ? sum(earlier.samples) : 0)], ["samples made", number(sum(own.samples))],
    ["requests now", rate(all, earlier ? sum(earlier.requests) : 0)], ["answered as they should be", all ? `${number((100 * good) / all, 4)} %` : "–"],
    ["rows that wait", number(own.queue.rows)], ["half of all requests take", seconds(quantile(own.seconds.request, 0.5))],
  ];
  return h("section", { class: "card", style: { "margin-top": "1.1rem" }, "aria-label": "In figures" }, h("div", { class: "figures" }, ...shown.map(([title, value]) => h("div", {}, h("div", { class: "figure" }, value), h("p", {}, title)))));
}

function evidence(own, width) {
  const { history, verdict, log_threshold: threshold } = own;
  const current = verdict.evidence.log_evidence ?? {};
  const names = Object.keys(current);
  const series = names.map((name) => ({ name: DETECTORS[name] ?? name, values: [...(history.log_evidence[name] ?? history.seconds_ago.map(() => 0)), current[name]] }));
  const loudest = Math.max(0, ...Object.values(current));
  const words = `Evidence of drift: now ${number(loudest)} at the most; an alarm is raised at ${number(threshold)}.`;
  return h("section", { class: "card wide" }, h("h2", {}, "Evidence over time"), h("p", { class: "small" }, `${words} It grows where samples differ from the reference; by chance alone it crosses the line once in 30 days at the most.`),
    lines(series, [...history.seconds_ago, 0], threshold, words, width));
}

function signals(own, arm, choose) {
  const buttons = Object.entries(ARMS).map(([name, title]) => h("button", { type: "button", id: `arm-${name}`, "aria-pressed": String(name === arm), on: { click: () => choose(name) } }, title));
  const head = h("div", { class: "row" }, h("h2", {}, "Signals beside the reference"), h("div", { class: "choice", role: "group", "aria-label": "Of which rows" }, ...buttons));
  if (!own.signals.length) return h("section", { class: "card wide" }, head, h("p", { class: "small" }, "This bundle has no reference to compare samples with."));
  const drawn = own.signals.map(({ name, bins }) => {
    const rows = arm === "all" ? Object.values(bins).reduce((one, other) => one.map((count, place) => count + other[place])) : bins[arm];
    const total = rows.reduce((one, other) => one + other, 0);
    const even = 1 / rows.length;
    const band = total ? DEVIATIONS * Math.sqrt((even * (1 - even)) / total + (even * (1 - even)) / (own.reference_samples || Infinity)) : 0;
    const shares = rows.map((count) => (total ? count / total : 0));
    const odd = total ? shares.filter((share) => Math.abs(share - even) > band).length : 0;
    const words = total ? `${name}: ${number(total)} rows, ${odd ? `${odd} of ${rows.length} bins beyond what chance allows` : "as the reference"}` : `${name}: no rows yet`;
    return h("div", {}, h("h3", {}, name, " ", total ? h("span", { class: odd ? "bad" : "good" }, odd ? `${odd} odd` : "✓") : ""), bars(shares, words, { even, band, odd: (share) => total > 0 && Math.abs(share - even) > band }));
  });
  const one = own.signals.length > 12 ? h("details", {}, h("summary", {}, `${own.signals.length - 12} more`), h("div", { class: "signals" }, ...drawn.slice(12))) : null;
  return h("section", { class: "card wide" }, head, h("p", { class: "small" }, "Twentieths of the reference's distribution: without drift all bars are equal, as high as the dashed line, within the band."), h("div", { class: "signals" }, ...drawn.slice(0, 12)), one);
}

function probes(own) {
  const { match = 0, mismatch = 0, abs_error: error } = own.probes;
  return h("section", { class: "card" }, h("h2", {}, "Golden probes"),
    h("p", {}, mismatch ? h("span", { class: "bad" }, `${number(mismatch)} of ${number(match + mismatch)} replays did not match what was recorded at export.`) : h("span", { class: "good" }, `All ${number(match)} replays matched what was recorded at export.`)),
    facts([["Largest difference of the last replay", number(error)], ["Values that were not finite", number(own.not_finite)], ["Batches not watched, for want of time", number(own.not_monitored)], ["Rounds of the watch that failed", number(own.watch_failures)]]));
}

const facts = (rows) => h("dl", { class: "facts" }, ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));

function labels(own) {
  if (!own.labels.length) return h("section", { class: "card" }, h("h2", {}, "Labels"), h("p", { class: "small" }, "The model has no labels, or too many of them to count each."));
  const total = own.labels.reduce((all, one) => all + one.rows, 0) || 1;
  return h("section", { class: "card" }, h("h2", {}, "Labels asked for"), h("div", { class: "sheet", tabindex: 0, role: "region", "aria-label": "Labels" }, h("table", {},
    h("thead", {}, h("tr", {}, ...["label", "rows", "share"].map((title) => h("th", { scope: "col" }, title)))),
    h("tbody", {}, ...own.labels.map((one) => h("tr", {}, h("th", { scope: "row" }, one.name), h("td", { class: "number" }, number(one.rows)), h("td", {}, h("div", { class: "meter", style: { "--share": `${(100 * one.rows) / total}%`, "min-width": "5rem" } }, h("span", {}))))))))); 
}

function conditions(own, model) {
  return own.conditions.map(({ name, drawn, bins }) => {
    const total = bins.reduce((one, other) => one + other, 0);
    const unit = model.conditions.find((one) => one.name === name)?.unit;
    const words = total ? `${number(total)} rows asked for a value, ${number(drawn)} left it to the prior` : "nobody has asked for a value yet";
    return h("section", { class: "card" }, h("h2", {}, name, unit ? ` (${unit})` : ""), h("p", { class: "small" }, `In tenths of its prior: ${words}.`), bars(bins.map((count) => (total ? count / total : 0)), `${name}: ${words}`, { even: 1 / bins.length }));
  });
}

function batch(own) {
  const { bounds, counts, sum: rows } = own.batch_rows;
  const calls = counts.reduce((one, other) => one + other, 0);
  const last = counts.findLastIndex((count) => count > 0);
  const shares = counts.slice(0, Math.max(last + 1, 4)).map((count) => (calls ? count / calls : 0));
  const words = calls ? `${number(rows / calls)} rows in a batch, on average, over ${number(calls)} batches` : "no batches yet";
  return h("section", { class: "card" }, h("h2", {}, "Batches and queue"), h("p", { class: "small" }, `${words}; by rows, up to ${bounds.slice(0, shares.length).map((one) => one ?? "more").join(", ")}.`), bars(shares, `Batches by their rows: ${words}`),
    h("p", { class: "small" }, `Queue: ${number(own.queue.rows)} of ${number(own.queue.limit)} rows`), h("div", { class: "meter", style: { "--share": `${(100 * (own.queue.rows ?? 0)) / (own.queue.limit || 1)}%` } }, h("span", {})));
}

function latency(own) {
  const shares = [["50 %", 0.5], ["95 %", 0.95], ["99 %", 0.99]];
  return h("section", { class: "card" }, h("h2", {}, "Latency by stage"), h("p", { class: "small" }, "Since the start: this share took no longer for the whole request, its wait for the engine, a call of it, and writing the answer."), h("div", { class: "sheet", tabindex: 0, role: "region", "aria-label": "Latency by stage" }, h("table", { class: "stages" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "stage"), ...shares.map(([title]) => h("th", { scope: "col", class: "number" }, title)))),
    h("tbody", {}, ...Object.entries(STAGES).map(([stage, title]) => h("tr", {}, h("th", { scope: "row" }, title), ...shares.map(([, share]) => h("td", { class: "number" }, seconds(quantile(own.seconds[stage], share))))))))));
}

function workers(now) {
  const { workers: all } = now;
  const refused = Object.entries(now.rejected).filter(([, count]) => count).map(([reason, count]) => `${reason.replaceAll("_", " ")} ${number(count)}`).join(", ");
  return h("section", { class: "card" }, h("h2", {}, "Workers"), facts([
    ["Processes that serve", number(all.count)], ["Restarts", number(all.restarts)], ["Connections, by worker", all.connections.map((one) => number(one)).join(" + ")],
    ["Requests under way", number(now.inflight)], ["Refused", refused || "none"], ["Memory", bytes(all.resident_bytes)], ["Processor time", seconds(all.cpu_seconds)], ["Free on disk", bytes(all.free_bytes)], ["Version", now.version],
  ]), h("ul", { class: "links" }, h("li", {}, h("a", { href: "metrics" }, "Metrics")), h("li", {}, h("a", { href: "v1/drift" }, "Verdict as JSON")), h("li", {}, h("a", { href: "bento" }, "BentoML's page"))));
}

function books(names) {
  return h("section", { class: "card wide" }, h("h2", {}, "Runbooks"), h("p", { class: "small" }, "What to look at and to do, for each alert."), h("ul", { class: "links" }, ...names.map((name) => h("li", {}, h("a", { href: `ui/runbooks/${name}` }, name.replace(/^Latentserve/, "").replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase())))));
}
