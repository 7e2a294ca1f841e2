// What one sample of each kind looks like: pictures, sounds, arrays. Tables are looked at as a whole: `tables.js`.

import { h, number } from "./elements.js";
import { askNumbers, setPicture } from "./server.js";

// From dark to bright, as evenly as eyes have it (after matplotlib's viridis).
const COLOURS = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];
const SMALL = 96; // pixels: what is smaller is shown with its pixels

export function colour(share) {
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
  return `arrays of ${shape.length ? shape.join("×") : 1} numbers`;
}

export const addressed = (one) => `seed ${one.seed}, row ${one.row}${one.label === undefined ? "" : `, label ${one.label}`}`;

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

export function range(values) {
  let least = Infinity, most = -Infinity;
  for (const value of values) {
    if (value < least) least = value;
    if (value > most) most = value;
  }
  return least <= most ? [least, most] : [0, 0];
}

// An array as a picture: a line of one axis, a map of two, maps side by side of more.
export function drawArray(canvas, values, shape) {
  const axes = shape.filter((size) => size > 1);
  const [least, most] = range(values);
  canvas.setAttribute("aria-label", `Array ${shape.join("×") || "of one number"}, from ${number(least)} to ${number(most)}`);
  if (axes.length < 2) return drawLine(canvas, values, least, most);
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

function drawLine(canvas, values, least, most) {
  const width = 240, height = 160, edge = 10;
  const context = sharp(canvas, width, height);
  const low = Math.min(least, 0), span = Math.max(most, 0) - low || 1;
  const at = (value) => height - edge - ((value - low) / span) * (height - 2 * edge);
  context.fillStyle = ink(canvas, "--chart");
  context.strokeStyle = ink(canvas, "--chart");
  context.lineWidth = 1.5;
  if (values.length <= 64) {
    const step = (width - 2 * edge) / values.length;
    values.forEach((value, place) => context.fillRect(edge + place * step + step * 0.1, Math.min(at(value), at(0)), step * 0.8, Math.max(1, Math.abs(at(value) - at(0)))));
  } else {
    context.beginPath();
    values.forEach((value, place) => context.lineTo(edge + (place / (values.length - 1)) * (width - 2 * edge), at(value)));
    context.stroke();
  }
  context.strokeStyle = ink(canvas, "--line");
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(edge, at(0));
  context.lineTo(width - edge, at(0));
  context.stroke();
}

// What a tile of a wall is, by kind: `element`, which is shown, and `show(address, path)`, which may throw.
// `path(format)` is the address of a row in a format.
export function makeTile(sample, keep) {
  if (sample.kind === "image") return pictureTile(sample, keep);
  return sample.kind === "audio" ? soundTile(sample, keep) : arrayTile(keep);
}

const caption = () => h("figcaption", {});

function name(one, figcaption, label = one.label) {
  figcaption.replaceChildren(
    h("span", { class: "address", title: `Seed ${one.seed}, row ${one.row}` }, `${one.seed}`, h("i", {}, `/${one.row}`)),
    label === undefined ? "" : h("span", { class: "label", title: "Label" }, label),
    one.score === undefined ? "" : h("span", { class: "score", title: "The critic's score" }, number(one.score)),
  );
}

function pictureTile(sample, keep) {
  const image = h("img", { decoding: "async", class: Math.max(sample.shape[1], sample.shape[2]) <= SMALL ? "pixels" : "" });
  image.style.aspectRatio = `${sample.shape[2]} / ${sample.shape[1]}`;
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
