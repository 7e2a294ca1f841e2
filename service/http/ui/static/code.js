// What is seen, as code to copy and as files to keep.

import { dialog, h, toast, bytes } from "./elements.js";
import { requestOf, rowPath, searches, fieldsOf } from "./playground.js";
import { base, key, save } from "./server.js";

const NAMES = {
  png: "PNG, one sheet", webp: "WebP, one sheet", zip: "ZIP of single files", csv: "CSV", parquet: "Parquet", arrow: "Arrow", wav: "WAV", mp3: "MP3",
  opus: "Opus", flac: "FLAC", npy: "NumPy (.npy)", npz: "NumPy with labels (.npz)", json: "JSON", ndjson: "JSON, a line a row", raw: "raw float32",
};
const SUFFIX = { opus: "ogg", raw: "bin" };
const ORDER = Object.keys(NAMES);
const MOST = 100_000; // rows that are saved from here: they are kept in memory on the way

const natural = (model) => ({ image: "png", table: "csv", audio: "wav" })[model.sample.kind] ?? "npy";
const offered = (model) => model.formats.filter((one) => one in NAMES).sort((one, other) => ORDER.indexOf(one) - ORDER.indexOf(other));
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function python(value) {
  if (value === true) return "True";
  if (value === null) return "None";
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${python(one)}`).join(", ")}}`;
  return JSON.stringify(value);
}

// Each with its title.
export function snippets(context) {
  const { model, now } = context;
  const fields = requestOf(context), format = natural(model);
  const opened = key.get() ? ` \\\n     -H "Authorization: Bearer $LATENTSERVE_KEY"` : ""; // which Python takes by itself
  const curl = `curl -sf ${quoted(`${base()}/v1/samples?format=${format}`)}${opened} \\\n     -H 'Content-Type: application/json' \\\n     -d ${quoted(JSON.stringify(fields))} -o ${model.name}.${SUFFIX[format] ?? format}`;
  const taken = { image: "samples.images()[0].show()", table: "print(samples.frame())" }[model.sample.kind] ?? "print(samples.array.shape)";
  const given = Object.entries(fields).map(([name, value]) => `${name}=${python(value)}`).join(", ");
  const found = { curl, Python: `from latentserve import Client\n\nwith Client("${base()}") as server:\n    samples = server.sample(${given})\n${taken}` };
  const { label, condition, truncation } = fieldsOf(context);
  const path = rowPath(context, now.keep.at(-1) ?? { seed: now.seed, row: now.offset, label, condition, truncation })(format);
  const address = new URL(path, `${base()}/`).href.replaceAll("&", "&amp;");
  if (model.sample.kind === "image") found["<img>"] = `<img src="${address}" alt="A sample of ${model.name}">`;
  else if (model.sample.kind === "audio") found["<audio>"] = `<audio controls src="${address}"></audio>`;
  else if (model.sample.kind === "table" && !searches(fields)) found.pandas = `import pandas\n\nframe = pandas.read_csv("${new URL(path, `${base()}/`).href.replace("?", `?n=${now.n}&`)}")`;
  return found;
}

export function showCode(context) {
  const found = snippets(context);
  dialog("Use in code", ...Object.entries(found).map(([name, text]) => {
    const code = h("pre", { tabindex: 0, role: "region", "aria-label": name }, text);
    const copy = async () => {
      try {
        await navigator.clipboard.writeText(text);
        toast("Copied.");
      } catch { // pages without TLS may not: it is selected, to be copied by hand
        getSelection().selectAllChildren(code);
        toast("Selected: copy it with the keyboard.");
      }
    };
    return h("section", { class: "snippet" }, h("header", {}, h("h3", {}, name), h("button", { type: "button", on: { click: copy }, "aria-label": `Copy ${name}` }, "Copy")), code);
  }), h("p", { class: "small" }, "The same rows, always: a row is its seed and its number. ", h("a", { href: "docs" }, "All fields"), "."));
}

export function showDownload(context) {
  const { model, now, maxN } = context;
  const fields = requestOf(context);
  const format = h("select", { id: "format" }, ...offered(model).map((one) => h("option", { value: one, selected: one === natural(model) }, NAMES[one])));
  const rows = h("input", { id: "rows", type: "number", min: 1, max: Math.min(maxN, MOST), value: now.n, step: 1 });
  const told = h("p", { role: "status", class: "small" });
  const get = h("button", { type: "submit", class: "main", id: "save" }, "Download");
  const taken = async (event) => {
    event.preventDefault();
    get.disabled = true;
    told.textContent = "Samples are made …";
    try {
      const size = await save(`${model.name}-${now.seed}.${SUFFIX[format.value] ?? format.value}`, "v1/samples", { body: { ...fields, n: Number(rows.value), format: format.value } });
      told.textContent = `${bytes(size)} were saved.`;
    } catch (error) {
      told.textContent = error.message;
    }
    get.disabled = false;
  };
  dialog("Download", h("form", { class: "download", on: { submit: taken } },
    h("div", { class: "field" }, h("label", { for: "format" }, "Format"), format),
    h("div", { class: "field" }, h("label", { for: "rows" }, `Rows, from row ${now.offset} of seed ${now.seed} on`), rows),
    h("div", { class: "row" }, get), told));
}
