// Sounds: seen as a waveform above a spectrogram, and heard.

import { number } from "./elements.js";
import { colour, ink, range, sharp } from "./kinds.js";

const WIDTH = 240, WAVE = 64, BANDS = 96;
const DECIBELS = 80; // from the loudest down to what is shown as silence

// The mean of all channels; rows are [frames] or [channels, frames].
export function mono(values, shape) {
  const frames = shape.at(-1) ?? values.length, channels = values.length / frames;
  if (channels === 1) return values;
  return Float32Array.from({ length: frames }, (_, frame) => {
    let sum = 0;
    for (let channel = 0; channel < channels; channel += 1) sum += values[channel * frames + frame];
    return sum / channels;
  });
}

export function drawSound(canvas, values, rate) {
  const context = sharp(canvas, WIDTH, WAVE + BANDS);
  const [least, most] = range(values);
  canvas.setAttribute("aria-label", `${number(values.length / rate, 2)} s of sound, values from ${number(least, 2)} to ${number(most, 2)}`);
  const size = Math.max(Math.abs(least), Math.abs(most)) || 1;
  context.fillStyle = ink(canvas, "--chart");
  for (let x = 0; x < WIDTH; x += 1) {
    const from = Math.floor((x / WIDTH) * values.length);
    const [low, high] = range(values.subarray(from, Math.max(from + 1, Math.floor(((x + 1) / WIDTH) * values.length))));
    const top = (0.5 - (high / size) * 0.46) * WAVE;
    context.fillRect(x, top, 1, Math.max(1, ((high - low) / size) * 0.46 * WAVE));
  }
  const levels = spectrogram(values, WIDTH / 2);
  const bands = levels[0].length, cell = WIDTH / levels.length;
  levels.forEach((column, x) => {
    for (let y = 0; y < BANDS; y += 1) {
      const [red, green, blue] = colour(1 + column[Math.floor((y / BANDS) * bands)] / DECIBELS);
      context.fillStyle = `rgb(${red} ${green} ${blue})`;
      context.fillRect(x * cell, WAVE + BANDS - 1 - y, cell + 0.5, 1);
    }
  });
}

// Decibels below the loudest, [columns][bands]: magnitudes of short Fourier transforms under a Hann window.
export function spectrogram(values, columns) {
  const size = 2 ** Math.min(9, Math.max(5, Math.floor(Math.log2(Math.max(values.length / 8, 32)))));
  const count = Math.max(1, Math.min(columns, values.length - size + 1));
  const found = [];
  let loudest = 1e-12;
  for (let column = 0; column < count; column += 1) {
    const from = count === 1 ? 0 : Math.round((column / (count - 1)) * Math.max(0, values.length - size));
    const real = new Float64Array(size), imaginary = new Float64Array(size);
    for (let i = 0; i < size; i += 1) real[i] = (values[from + i] || 0) * (0.5 - 0.5 * Math.cos((2 * Math.PI * i) / size));
    transform(real, imaginary);
    const power = new Float64Array(size / 2);
    for (let i = 0; i < size / 2; i += 1) loudest = Math.max(loudest, (power[i] = real[i] ** 2 + imaginary[i] ** 2));
    found.push(power);
  }
  return found.map((power) => power.map((value) => 10 * Math.log10(Math.max(value, 1e-20) / loudest)));
}

// In place, of a power of two (Cooley and Tukey 1965).
function transform(real, imaginary) {
  const size = real.length;
  for (let i = 1, j = 0; i < size; i += 1) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [real[i], real[j]] = [real[j], real[i]];
  }
  for (let length = 2; length <= size; length *= 2) {
    for (let start = 0; start < size; start += length) {
      for (let k = 0; k < length / 2; k += 1) {
        const angle = (-2 * Math.PI * k) / length, cosine = Math.cos(angle), sine = Math.sin(angle);
        const here = start + k, there = here + length / 2;
        const re = real[there] * cosine - imaginary[there] * sine, im = real[there] * sine + imaginary[there] * cosine;
        real[there] = real[here] - re;
        imaginary[there] = imaginary[here] - im;
        real[here] += re;
        imaginary[here] += im;
      }
    }
  }
}

let speaker, playing;

// Let it be heard; pressed again, it stops. One sound at a time.
export function play(values, rate, button) {
  const same = playing?.button === button;
  playing?.stop();
  if (same || !values) return;
  speaker ??= new AudioContext();
  speaker.resume();
  const buffer = speaker.createBuffer(1, values.length, Math.min(Math.max(rate, 3000), 384_000));
  buffer.copyToChannel(values, 0);
  const source = speaker.createBufferSource();
  source.buffer = buffer;
  source.connect(speaker.destination);
  const over = () => {
    button.setAttribute("aria-pressed", "false");
    button.textContent = "▶";
    if (playing === mine) playing = undefined;
  };
  const mine = (playing = { button, stop: () => (source.stop(), over()) });
  source.onended = over;
  button.setAttribute("aria-pressed", "true");
  button.textContent = "■";
  source.start();
}
