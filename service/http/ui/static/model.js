// What is known of a model: its card, where it comes from, what was measured of it.

import { h, number } from "./elements.js";
import { described } from "./kinds.js";
import { Refusal, ask, askJson, setPicture } from "./server.js";

// What training saw last of the samples.
const SCORES = {
  images: "images seen by then", diversity: "diversity (of real data 1)", frechet: "distance from real data (frechet)", frechet_floor: "of other real data (floor)",
  frechet_floor_deviation: "the floor's deviation", real_frechet: "of real data shown last",
};
const SMALL = 700; // pixels: of a preview that is shown larger than it is

export async function show(main, { model, signal }) {
  const [{ manifest, state, fault, signature }, card] = await Promise.all([askJson(`v1/models/${encodeURIComponent(model.name)}`, { signal }), cardOf(model, signal)]);
  const { lineage } = manifest;
  main.replaceChildren(
    h("h1", {}, h("b", {}, model.name), ` makes ${described(model.sample)}.`),
    h("div", { class: "columns" },
      pictures(model),
      facts("Served", [
        ["Version", h("code", {}, manifest.version)], ["State", fault ? h("span", { class: "bad" }, fault) : h("span", { class: "good" }, state)],
        ["Made", new Date(manifest.created).toLocaleDateString("en", { dateStyle: "long" })], ["Licence", manifest.license ?? "not stated"],
        ["Signed", signedBy(signature)],
        ["Samples", `${manifest.sample.kind}, ${manifest.sample.shape.join("×") || "one number"}`],
        ["Labels", manifest.labels ? h("span", {}, `${number(manifest.labels.length)}: `, ...manifest.labels.slice(0, 12).flatMap((name, place) => [place ? ", " : "", h("bdi", {}, name)]), manifest.labels.length > 12 ? ", …" : "") : "none"],
        ["Conditions", (manifest.conditions ?? []).map((one) => `${one.name}${one.unit ? ` (${one.unit})` : ""}, ${number(one.range[0])} to ${number(one.range[1])}`).join("; ") || "none"],
        ["Latent", `${number(manifest.latent.dim)} numbers, ${manifest.latent.prior}`],
        ["Critic", manifest.onnx.critic ? "yes: it scores what is served" : "none: samples are not scored"],
        ["Rows independent of their batch", manifest.onnx.batch_invariant ? "bit for bit" : "within the golden tolerance"],
      ]),
      facts("Lineage", [
        ["Trained on", lineage.dataset ?? "not stated"], ["SHA-256 of the data", lineage.dataset_sha256 ? h("code", {}, lineage.dataset_sha256.slice(0, 16), "…") : "not stated"],
        ["Recipe", lineage.recipe ?? "not stated"], ["Seed", lineage.seed === null ? "not stated" : number(lineage.seed)],
        ["Images seen", lineage.images_seen === null ? "not stated" : number(lineage.images_seen)], ["Code revision", lineage.code_revision ? h("code", {}, lineage.code_revision) : "not stated"],
      ]),
      scores(lineage.evaluation),
      privacy(lineage.evaluation),
      manifest.monitor && facts("Reference, that drift is measured against", [
        ["Samples", number(manifest.monitor.reference_samples)], ["Signals", manifest.monitor.signals.join(", ") || "none"],
        ["Features", manifest.monitor.features ?? "none"], ["Rows recorded to be made again", number(manifest.monitor.recorded_rows)],
      ]),
      card && h("section", { class: "card wide" }, h("h2", {}, "Card"), card),
      h("section", { class: "card wide" }, h("h2", {}, "Manifest"), h("details", {}, h("summary", {}, "As it is in the bundle"), h("pre", { tabindex: 0, role: "region", "aria-label": "Manifest" }, shortened(manifest)))),
    ));
}

function facts(title, rows) {
  return h("section", { class: "card" }, h("h2", {}, title), h("dl", { class: "facts" }, ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
}

function signedBy(signature) {
  if (!signature) return "by nobody";
  const { by, fingerprint, subject, fault } = signature;
  const who = by ? [`by the ${by} `, fingerprint ? h("code", { title: fingerprint }, fingerprint.slice(0, 16), "…") : "that it does not name", subject ? ` of ${subject}` : ""] : [];
  return h("span", {}, ...who, fault ? h("span", { class: "bad" }, ` not verified: ${fault}`) : h("span", { class: "good" }, " verified"));
}

function scores(evaluation) {
  const found = Object.entries(withoutPrivacy(evaluation ?? {}));
  if (!found.length) return h("section", { class: "card" }, h("h2", {}, "Evaluation"), h("p", { class: "small" }, "The manifest carries no scores. ", h("code", {}, "latentserve evaluate"), " tells how good the samples are."));
  const shown = (value) => (typeof value === "number" ? number(value, 4) : typeof value === "object" ? JSON.stringify(value) : String(value));
  const card = facts("Evaluation", found.map(([name, value]) => [SCORES[name] ?? name.replaceAll("_", " "), shown(value)]));
  const { frechet, frechet_floor: floor } = evaluation;
  if (typeof frechet === "number" && floor > 0) card.querySelector("h2").after(h("p", { class: "small" }, `Samples lie ${number(frechet / floor, 2)} times as far from real data as chance alone puts other real data. `, h("code", {}, "latentserve evaluate"), " tells more."));
  return card;
}

const withoutPrivacy = ({ privacy: _, ...others }) => (others.evaluation_of_original ? { ...others, evaluation_of_original: withoutPrivacy(others.evaluation_of_original) } : others);

// What samples give away of the training data, as far as that was measured at export; a variant has its original's.
function privacy(evaluation) {
  const found = evaluation?.privacy ?? evaluation?.evaluation_of_original?.privacy;
  if (found?.unmeasured) return h("section", { class: "card" }, h("h2", {}, "Privacy"), h("p", { class: "small" }, `Not measured: ${found.unmeasured}.`));
  const { dcr, membership } = found ?? {};
  if (!dcr || !membership) return null;
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  const told = ({ value, floor, interval }) => `${percent(value)}${interval ? ` (${interval.map(percent).join(" to ")})` : ""}; held-out records ${percent(floor)}`;
  const card = facts("Privacy", [
    ["Samples closest to training data", told(dcr)], ["Members told by an attack", told(membership)],
    ["Members recognised, 1 % mistaken", told({ value: membership.recognised, floor: membership.recognised_floor })],
    ["Samples", `${number(dcr.n)}${evaluation.privacy ? "" : " of the original"}`], ["Features", dcr.space],
  ]);
  card.append(h("p", { class: "small" }, "50 % (in the third line 1 %) where samples give nothing away. No promise: other attacks may tell more, and the training was not differentially private."));
  return card;
}

function pictures(model) {
  if (!model.pictures.length) return null;
  return h("section", { class: "card" }, h("h2", {}, model.pictures.length > 1 ? "Pictures" : "Preview"), ...model.pictures.map((name) => {
    const image = h("img", { alt: name === "preview.png" ? `Samples that were made when ${model.name} was exported` : name });
    setPicture(image, `ui/pictures/${encodeURIComponent(model.name)}/${encodeURIComponent(name)}`)
      .then(() => image.classList.toggle("pixels", image.naturalWidth < SMALL), () => image.replaceWith(h("p", { class: "small" }, `${name} cannot be read any more.`)));
    return image;
  }));
}

// The card's HTML is made by the server, of Markdown without any HTML of its own; what it links to is not here.
async function cardOf(model, signal) {
  if (!model.card) return null;
  try {
    const text = await (await ask(`ui/cards/${encodeURIComponent(model.name)}`, { signal })).text();
    const prose = h("div", { class: "prose" });
    const parsed = new DOMParser().parseFromString(text, "text/html");
    for (const image of parsed.querySelectorAll("img")) image.remove(); // they are shown beside it
    for (const head of parsed.querySelectorAll("thead")) if (!head.textContent.trim()) head.remove();
    prose.append(...parsed.body.childNodes);
    for (const block of prose.querySelectorAll("pre, table")) block.tabIndex = 0;
    return prose;
  } catch (error) {
    if (error instanceof Refusal) return h("p", { class: "small" }, error.message);
    throw error;
  }
}

// Long lists of it are told by their length.
const shortened = (manifest) => JSON.stringify(manifest, (_, value) => (Array.isArray(value) && value.length > 200 ? `${value.length} values` : value), 2);
