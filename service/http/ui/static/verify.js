// Was a file made here? One that is dropped, pasted or chosen is sent to the server, which says so, and on what that rests.

import { h, number, tell } from "./elements.js";
import { failure } from "./failure.js";
import { askJson } from "./server.js";

const VERDICTS = {
  exact: ["well", "✓", "Made here, and unchanged"],
  alike: ["early", "≈", "Made here, and changed"],
  no: ["unknown", "?", "Nothing shows that it was made here"],
};
const GROUNDS = { mark: "the mark in it, and its rows, made again", signature: "its signature", audit: "the account of what was sent, and its row, made again" };
const SHOWN = ["image/png", "image/jpeg", "image/webp", "image/gif"];

export function show(main, { model, signal }) {
  let last, address;
  const field = h("input", { type: "file", id: "file", class: "unseen", on: { change: () => field.files.length && look(field.files[0]) } });
  const place = h("label", { class: "drop", for: "file" },
    h("span", { class: "figure" }, "Drop a file here"), h("span", {}, "or choose one, or paste a picture: PNG, JPEG, WebP, GIF, WAV, CSV, Arrow, ZIP, … as they were served, or what became of them."));
  const found = h("section", { id: "found", "aria-live": "polite" });

  async function look(file) {
    const mine = (last = Symbol(file.name));
    URL.revokeObjectURL(address);
    address = SHOWN.includes(file.type) ? URL.createObjectURL(file) : undefined;
    found.setAttribute("aria-busy", "true");
    found.replaceChildren(h("p", { class: "waiting", role: "status" }, `Looking at ${file.name} …`));
    try {
      const told = await verified(file, model);
      if (signal.aborted || last !== mine) return;
      found.replaceChildren(...result(file, told, address));
      tell(`${file.name}: ${VERDICTS[told.verdict][2]}.`);
    } catch (error) {
      if (!signal.aborted && last === mine) found.replaceChildren(failure(error, () => look(file)));
    } finally {
      if (last === mine) found.setAttribute("aria-busy", "false");
    }
  }

  const over = (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    place.classList.toggle("over", event.type !== "drop");
    if (event.type === "drop" && event.dataTransfer.files.length) look(event.dataTransfer.files[0]);
  };
  const out = (event) => event.relatedTarget === null && place.classList.remove("over");
  const paste = (event) => event.clipboardData?.files.length && look(event.clipboardData.files[0]);
  const heard = [["dragover", over], ["drop", over], ["dragleave", out], ["paste", paste]];
  for (const [event, listener] of heard) window.addEventListener(event, listener, { signal });
  main.replaceChildren(h("div", { class: "verify" }, h("h1", {}, "Was this ", h("b", {}, "made here"), "?"), field, place, found));
  signal.addEventListener("abort", () => URL.revokeObjectURL(address));
}

// The file says which model it is of, or it is asked of the one that is looked at.
async function verified(file, model) {
  try {
    return await askJson("v1/verify", { file });
  } catch (error) {
    if (error.field !== "model") throw error;
    return askJson(`v1/verify?model=${encodeURIComponent(model.name)}`, { file });
  }
}

function result(file, told, address) {
  const [state, sign, title] = VERDICTS[told.verdict];
  const rows = [["File", file.name], ["Rests on", told.rests_on.map((ground) => GROUNDS[ground] ?? ground).join("; ") || "nothing"]];
  if (told.verdict !== "no") {
    rows.push(["Model", `${told.model} ${told.version}`]);
    if (told.seed !== null) rows.push([told.n > 1 ? "First row" : "Row", h("code", {}, `${told.seed}/${told.row}`)]);
    if (told.n > 1) rows.push(["Rows", number(told.n)]);
  }
  if (told.distance !== null) rows.push(["Distance", told.distance === 0 ? "none" : `${number(100 * told.distance)} % of the full scale`]);
  if (told.log) rows.push(["Account", `${number(told.log.answers)} of ${number(told.log.of)} answers are in its index`]);
  return [
    h("div", { class: "verdict", dataset: { state } }, h("span", { class: "sign", "aria-hidden": "true" }, sign), h("h2", {}, title), h("p", {}, `${told.why[0].toUpperCase()}${told.why.slice(1)}.`)),
    h("div", { class: "columns" },
      address && h("section", { class: "card" }, h("h2", {}, "The file"), h("img", { class: "pixels", src: address, alt: file.name })),
      h("section", { class: "card" }, h("h2", {}, "What was found"), h("dl", { class: "facts" }, ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])))),
  ];
}
