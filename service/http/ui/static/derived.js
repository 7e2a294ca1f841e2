// Rows made from other rows: on the way from one to the next, played or by a slider; and around one.

import { failure } from "./failure.js";
import { debounce, h, number, tell, toast } from "./elements.js";
import { addressed, drawArray } from "./kinds.js";
import { fieldsOf } from "./playground.js";
import { askJson, askNumbers, save } from "./server.js";
import { drawSound, mono, play as playSound } from "./sounds.js";
import { cell, shown } from "./tables.js";

const FRAMES = 32; // from each kept sample to the next
const MOST_NUMBERS = 1 << 23; // of all frames of a path
const SECONDS = 2; // from each to the next, played
const VARIATIONS = 12;

// Frames of a path or variations, each ready to be drawn: `draw(canvas, place)`, and `count`.
async function framesOf(sample, path, body) {
  if (sample.kind === "image") {
    const { samples } = await askJson(`${path}?format=json`, { body });
    const pictures = await Promise.all(samples.map((text) => createImageBitmap(new Blob([Uint8Array.from(atob(text), (one) => one.charCodeAt(0))], { type: "image/png" }))));
    const draw = (canvas, place) => {
      const picture = pictures[place];
      if (canvas.width !== picture.width || canvas.height !== picture.height) [canvas.width, canvas.height] = [picture.width, picture.height];
      canvas.classList.toggle("pixels", Math.max(picture.width, picture.height) <= 96);
      const context = canvas.getContext("2d");
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.drawImage(picture, 0, 0);
    };
    return { count: pictures.length, draw };
  }
  if (sample.kind === "table") {
    const { samples } = await askJson(`${path}?format=json`, { body });
    return { count: samples.length, rows: samples };
  }
  const { values, shape } = await askNumbers(`${path}?format=raw`, { body });
  const size = values.length / shape[0];
  const row = (place) => values.subarray(place * size, (place + 1) * size);
  if (sample.kind === "audio") {
    const sound = (place) => mono(row(place), shape.slice(1));
    return { count: shape[0], draw: (canvas, place) => drawSound(canvas, sound(place), sample.sample_rate), sound };
  }
  return { count: shape[0], draw: (canvas, place) => drawArray(canvas, row(place), shape.slice(1)) };
}

// An end as /v1/interpolations has it.
const endOf = ({ seed, row, label, condition }) => ({ seed, row, ...(label === undefined ? {} : { label }), ...(condition ? { condition } : {}) });

// Fields beside the rows. Ends have what they were kept with; a label and conditions that none of them has are those
// that are asked for now.
function common(context, kept) {
  const { model, label, condition, truncation } = fieldsOf(context);
  const fields = model ? { model } : {};
  if (label !== undefined && kept.every((one) => one.label === undefined)) fields.label = label;
  if (condition && kept.every((one) => !one.condition)) fields.condition = condition;
  const own = kept.at(-1).truncation ?? truncation;
  return own ? { ...fields, truncation: own } : fields;
}

function frame(title, close, ...content) {
  return h("section", { class: "derived", "aria-label": title },
    h("header", {}, h("h2", {}, title), h("button", { type: "button", class: "quiet icon", "aria-label": "Close", on: { click: close } }, "✕")), ...content);
}

// The way from each kept sample to the next. Resolves to what ends it.
export async function openBetween(panel, context, kept, close) {
  const { sample } = context.model;
  const size = sample.shape.reduce((product, one) => product * one, 1);
  const each = Math.max(4, Math.min(FRAMES, Math.floor(MOST_NUMBERS / size / (kept.length - 1))));
  const body = { ...common(context, kept), ends: kept.map(endOf), frames: each * (kept.length - 1) + 1 };
  const title = kept.length === 2 ? `From ${addressed(kept[0])} to ${addressed(kept[1])}` : `Through ${kept.length} samples`;
  panel.replaceChildren(frame(title, close, h("p", { class: "waiting" }, "Frames are made …")));
  let frames;
  try {
    frames = await framesOf(sample, "v1/interpolations", body);
  } catch (error) {
    panel.replaceChildren(frame(title, close, failure(error, () => openBetween(panel, context, kept, close))));
    return () => {};
  }
  const canvas = frames.draw ? h("canvas", { class: "screen", role: "img", "aria-label": title }) : h("dl", { class: "screen row-of-table", tabindex: 0 });
  const slider = h("input", { id: "between-place", type: "range", min: 0, max: frames.count - 1, step: 1, value: 0, "aria-label": "Place on the way" });
  const play = h("button", { type: "button", class: "main", id: "between-play", "aria-pressed": "false" }, "Play");
  const told = h("output", { for: "between-place" });
  let running = 0;
  const draw = (place) => {
    if (frames.draw) frames.draw(canvas, place);
    else canvas.replaceChildren(...frames.rows[place].flatMap((value, column) => [h("dt", {}, nameOf(sample.columns[column])), h("dd", { dir: "auto" }, shown(value, sample.columns[column]))]));
    slider.setAttribute("aria-valuetext", `${Math.round((100 * place) / (frames.count - 1))} %`);
    told.textContent = `${Math.round((100 * place) / (frames.count - 1))} %`;
  };
  slider.addEventListener("input", () => (stop(), draw(Number(slider.value))));
  const stop = () => {
    cancelAnimationFrame(running);
    running = 0;
    play.setAttribute("aria-pressed", "false");
    play.textContent = "Play";
  };
  play.addEventListener("click", () => {
    if (running) return stop();
    play.setAttribute("aria-pressed", "true");
    play.textContent = "Pause";
    const long = SECONDS * 1000 * (kept.length - 1), last = frames.count - 1;
    const first = performance.now() - (Number(slider.value) / last) * long;
    let before = -1;
    const step = (time) => {
      const share = (Math.max(0, time - first) / long) % 2; // there and back
      const place = Math.round((share > 1 ? 2 - share : share) * last);
      if (place !== before) {
        slider.value = before = place;
        draw(place);
      }
      running = requestAnimationFrame(step);
    };
    running = requestAnimationFrame(step);
  });
  const buttons = [play];
  if (frames.sound) {
    const hear = h("button", { type: "button", id: "between-hear", "aria-label": "Play the sound at this place", "aria-pressed": "false" }, "▶");
    hear.addEventListener("click", () => playSound(frames.sound(Number(slider.value)), sample.sample_rate, hear));
    buttons.push(hear);
  }
  if (sample.kind === "image") {
    for (const format of ["webp", "gif"]) {
      const get = async () => save(`${context.model.name}.${format}`, "v1/interpolations", { body: { ...body, format, fps: 16, loop: false } }).catch((error) => toast(error.message, "bad"));
      buttons.push(h("button", { type: "button", class: "quiet", on: { click: get } }, `Save as ${format.toUpperCase()}`));
    }
  }
  panel.replaceChildren(frame(title, close, h("div", { class: "screening" }, canvas, h("div", { class: "along" }, slider, told, h("div", { class: "row" }, ...buttons)))));
  draw(0);
  tell(`${title}: ${frames.count} frames are there.`);
  return stop;
}

const nameOf = (column) => (typeof column === "string" ? column : column.name);

// Rows around the last kept one. Resolves to what ends it.
export async function openAround(panel, context, kept, close) {
  const { sample } = context.model;
  const one = kept.at(-1);
  const title = `Around ${addressed(one)}`;
  const told = h("output", { for: "strength" });
  const slider = h("input", { id: "strength", type: "range", min: 0.05, max: 1, step: 0.05, value: 0.2 });
  const grid = h("div", { class: `wall small ${sample.kind}`, id: "variations" });
  let round = 0, seed = 0;
  const show = async () => {
    const mine = (round += 1);
    const body = { ...common(context, [one]), ...endOf(one), n: VARIATIONS, strength: Number(slider.value), variation_seed: seed };
    try {
      const frames = await framesOf(sample, "v1/variations", body);
      if (mine !== round) return;
      if (frames.rows) {
        const columns = sample.columns.map(nameOf);
        grid.replaceChildren(h("div", { class: "sheet", tabindex: 0, role: "region", "aria-label": title }, h("table", {}, h("thead", {}, h("tr", {}, ...columns.map((name) => h("th", { scope: "col", dir: "auto" }, name)))), h("tbody", {}, ...frames.rows.map((row) => h("tr", {}, ...row.map((value, place) => cell(value, sample.columns[place]))))))));
      } else {
        const all = Array.from({ length: frames.count }, (_, place) => h("canvas", { role: "img", "aria-label": `Variation ${place}` }));
        grid.replaceChildren(...all.map((canvas) => h("figure", { class: "tile" }, canvas)));
        all.forEach((canvas, place) => frames.draw(canvas, place));
      }
      tell(`${frames.count} variations are shown.`);
    } catch (error) {
      if (mine === round) grid.replaceChildren(failure(error, show));
    }
  };
  const later = debounce(show, 120);
  slider.addEventListener("input", () => ((told.textContent = slider.value), later()));
  told.textContent = slider.value;
  const others = h("button", { type: "button", id: "others", on: { click: () => ((seed += 1), show()) } }, "Others");
  panel.replaceChildren(frame(title, close,
    h("div", { class: "row" }, h("label", { for: "strength" }, "Strength"), slider, told, others), grid));
  await show();
  return () => (round += 1);
}
