// What one sample of each kind looks like: pictures, sounds, arrays. Tables are looked at as a whole: `tables.js`.

import { h, number } from "./elements.js";
import { askNumbers, setPicture } from "./server.js";

// From dark to bright, as evenly as eyes have it (after matplotlib's viridis).
const COLOURS = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];
const ABSENT = [128, 128, 128]; // what is no number
const SMALL = 96; // pixels: what is smaller is shown with its pixels
const LARGE = 128;
const LONGEST = 2.5; // of a tile, its longer side beside the other one
const MOST_LINES = 8;

export function colour(share) {
  if (Number.isNaN(share)) return ABSENT;
  const place = Math.min(Math.max(share, 0), 1) * (COLOURS.length - 1);
  const low = Math.min(Math.floor(place), COLOURS.length - 2);
  return COLOURS[low].map((value, channel) => Math.round(value + (place - low) * (COLOURS[low + 1][channel] - value)));
}

// In a few words, what the samples are.
export function described(sample) {
  const shape = sample.shape;
  if (sample.kind === "image") {
    const colours = { L: "grey", RGB: "colour", RGBA: "colour" }[sample.channels] ?? "";
    return `${shape[2]}×${shape[1]} ${colours} pictures`;
  }
  if (sample.kind === "audio") return `${number(shape.at(-1) / sample.sample_rate, 2)} s sounds at ${number(sample.sample_rate / 1000)} kHz`;
  if (sample.kind === "table") return `rows of a table with ${shape[0]} columns`;
  if (isSeries(shape)) return `series of ${number(shape[1])} values${shape[0] > 1 ? ` on ${shape[0]} channels` : ""}`;
  return shape.every((size) => size === 1) ? "single numbers" : `arrays of ${shape.join("×")} numbers`;
}

// Whether an array is a few channels of many frames each: lines, not a map.
const isSeries = (shape) => shape.length === 2 && shape[0] <= MOST_LINES && shape[1] >= 2 * Math.max(shape[0], 4);

export function addressed(one) {
  const label = one.label ?? one.known?.label;
  return `seed ${one.seed}, row ${one.row}${label === undefined ? "" : `, label ${label}`}`;
}

// A canvas of so many real pixels as it is shown with.
export function sharp(canvas, width, height) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return context;
}

// A colour of the page, as a canvas that is in it takes it.
export function ink(canvas, name) {
  canvas.style.color = `var(${name})`;
  return getComputedStyle(canvas).color;
}

// The least and the greatest of those that are finite.
export function range(values) {
  let least = Infinity, most = -Infinity;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    if (value < least) least = value;
    if (value > most) most = value;
  }
  return least <= most ? [least, most] : [0, 0];
}

// An array as a picture: a line of one axis or of each channel of a series, a map of two axes, maps side by side of more.
export function drawArray(canvas, values, shape) {
  const axes = shape.filter((size) => size > 1);
  const [least, most] = range(values);
  const absent = values.filter((value) => !Number.isFinite(value)).length;
  canvas.setAttribute("aria-label", `${isSeries(shape) ? "Series" : "Array"} ${shape.join("×") || "of one number"}, from ${number(least)} to ${number(most)}${absent ? `; ${number(absent)} are no numbers` : ""}`);
  if (values.length === 1) return drawNumber(canvas, values[0]);
  if (axes.length < 2 || isSeries(shape)) return drawLines(canvas, values, isSeries(shape) ? shape[0] : 1);
  const width = axes.at(-1), height = axes.at(-2), maps = values.length / (width * height);
  const across = Math.ceil(Math.sqrt(maps)), down = Math.ceil(maps / across);
  canvas.width = across * width + (across - 1);
  canvas.height = down * height + (down - 1);
  const context = canvas.getContext("2d");
  const picture = context.createImageData(canvas.width, canvas.height);
  const span = most - least || 1;
  for (let map = 0; map < maps; map += 1) {
    const left = (map % across) * (width + 1), top = Math.floor(map / across) * (height + 1);
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        const [red, green, blue] = colour((values[(map * height + y) * width + x] - least) / span);
        picture.data.set([red, green, blue, 255], ((top + y) * canvas.width + left + x) * 4);
      }
    }
  }
  context.putImageData(picture, 0, 0);
  canvas.classList.toggle("pixels", canvas.width <= SMALL * 2);
}

function drawNumber(canvas, value) {
  const width = 240, height = 160;
  const context = sharp(canvas, width, height);
  context.fillStyle = ink(canvas, "--ink");
  context.font = "600 34px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(number(value, 5), width / 2, height / 2);
}

// Each channel in a row of its own, at its own scale: their units differ.
function drawLines(canvas, values, channels) {
  const width = 240, height = 160, edge = 10;
  const context = sharp(canvas, width, height);
  const frames = values.length / channels, room = (height - edge) / channels;
  for (let channel = 0; channel < channels; channel += 1) {
    const own = values.subarray(channel * frames, (channel + 1) * frames), bottom = edge / 2 + room * (channel + 1) - edge / 2;
    drawLine(context, own, { left: edge, right: width - edge, bottom, height: room - edge }, ink(canvas, "--chart"), ink(canvas, "--line"), channels === 1);
  }
}

// Bars of a few values, which begin at 0, or a line; what is no number leaves a gap.
function drawLine(context, values, { left, right, bottom, height }, chart, axis, grounded) {
  const [least, most] = range(values), bars = grounded && values.length <= 64;
  const low = grounded ? Math.min(least, 0) : least, span = (grounded ? Math.max(most, 0) : most) - low || 1;
  const at = (value) => bottom - ((value - low) / span) * height;
  const zero = Math.min(Math.max(at(0), bottom - height), bottom);
  context.lineWidth = 1;
  context.strokeStyle = axis;
  context.beginPath();
  context.moveTo(left, zero);
  context.lineTo(right, zero);
  context.stroke();
  context.fillStyle = context.strokeStyle = chart;
  context.lineWidth = 1.5;
  const step = (right - left) / (bars ? values.length : Math.max(values.length - 1, 1));
  let drawn = false;
  context.beginPath();
  values.forEach((value, place) => {
    if (!Number.isFinite(value)) return (drawn = false);
    if (bars) context.fillRect(left + place * step + step * 0.1, Math.min(at(value), zero), step * 0.8, Math.max(1, Math.abs(at(value) - zero)));
    else if (drawn) context.lineTo(left + place * step, at(value));
    else context.moveTo(left + place * step, at(value));
    return (drawn = true);
  });
  context.stroke();
}

// Whether a tile needs room: a picture of many pixels, or one that is much wider than it is high.
export const isLarge = ({ kind, shape }) => kind === "image" && (Math.max(shape[1], shape[2]) > LARGE || shape[2] > 2 * shape[1]);

// What a tile of a wall is, by kind: `element`, which is shown, and `show(address, path)`, which may throw.
// `path(format)` is the address of a row in a format.
export function makeTile(sample, keep) {
  if (sample.kind === "image") return pictureTile(sample, keep);
  return sample.kind === "audio" ? soundTile(sample, keep) : arrayTile(keep);
}

// Why there is no sample in a tile; null: there may be one.
export function showFault({ element, button }, error) {
  element.querySelector(".why")?.remove();
  element.classList.toggle("failed", error !== null);
  button.disabled = error !== null;
  if (error) element.append(h("p", { class: "why", title: error.message }, error.title));
  if (error) element.classList.remove("loading");
}

const caption = () => h("figcaption", {});

function name(one, figcaption, drawn) {
  const { label = one.label ?? drawn, conditions = [], score } = one.known ?? {};
  figcaption.replaceChildren(
    h("span", { class: "address", title: `Seed ${one.seed}, row ${one.row}` }, `${one.seed}`, h("i", {}, `/${one.row}`)),
    label === undefined ? "" : h("span", { class: "label", title: `Label: ${label}`, dir: "auto" }, label),
    score === undefined ? "" : h("span", { class: "score", title: "The critic's score" }, number(score)),
    ...conditions.map((text) => h("span", { class: "condition", title: "Condition, as drawn" }, text)),
  );
}

function pictureTile(sample, keep) {
  const image = h("img", { decoding: "async", class: Math.max(sample.shape[1], sample.shape[2]) <= SMALL ? "pixels" : "" });
  image.style.aspectRatio = Math.min(Math.max(sample.shape[2] / sample.shape[1], 1 / LONGEST), LONGEST);
  const button = h("button", { type: "button", class: "keep", "aria-pressed": "false", on: { click: () => keep(tile) } }, image);
  const words = caption();
  const tile = { element: h("figure", { class: "tile loading" }, button, words), button };
  tile.show = async (one, path) => {
    tile.address = one;
    name(one, words);
    image.alt = `Sample: ${addressed(one)}`;
    tile.element.classList.add("loading");
    await setPicture(image, path("png"));
    tile.element.classList.remove("loading");
  };
  return tile;
}

function arrayTile(keep) {
  const canvas = h("canvas", { role: "img", "aria-label": "Array" });
  const button = h("button", { type: "button", class: "keep", "aria-pressed": "false", on: { click: () => keep(tile) } }, canvas);
  const words = caption();
  const tile = { element: h("figure", { class: "tile loading" }, button, words), button };
  tile.show = async (one, path, signal) => {
    tile.address = one;
    name(one, words);
    const { values, shape, labels } = await askNumbers(path("raw"), { signal });
    name(one, words, labels?.[0]);
    drawArray(canvas, values, shape.slice(1));
    button.setAttribute("aria-label", `Sample: ${addressed(one)}. ${canvas.getAttribute("aria-label")}`);
    tile.element.classList.remove("loading");
  };
  return tile;
}

function soundTile(sample, keep) {
  const canvas = h("canvas", { role: "img", "aria-label": "Waveform and spectrogram" });
  const button = h("button", { type: "button", class: "keep", "aria-pressed": "false", on: { click: () => keep(tile) } }, canvas);
  const play = h("button", { type: "button", class: "play", "aria-pressed": "false" }, "▶");
  const words = caption();
  const tile = { element: h("figure", { class: "tile sound loading" }, button, play, words), button };
  play.addEventListener("click", async () => (await import("./sounds.js")).play(tile.values, sample.sample_rate, play));
  tile.show = async (one, path, signal) => {
    tile.address = one;
    name(one, words);
    const [{ drawSound, mono }, { values, shape, labels }] = await Promise.all([import("./sounds.js"), askNumbers(path("raw"), { signal })]);
    name(one, words, labels?.[0]);
    tile.values = mono(values, shape.slice(1));
    drawSound(canvas, tile.values, sample.sample_rate);
    button.setAttribute("aria-label", `Sample: ${addressed(one)}. ${canvas.getAttribute("aria-label")}`);
    play.setAttribute("aria-label", `Play ${addressed(one)}`);
    tile.element.classList.remove("loading");
  };
  return tile;
}
