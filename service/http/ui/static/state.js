// What is seen, as the address's fragment has it: `#play?seed=7&label=3`. A link shows the same wall.

const PAGES = ["play", "model", "health", "verify"];
const MOST_SEED = 2 ** 53;

export function read() {
  const [page, query = ""] = location.hash.slice(1).split("?");
  const given = new URLSearchParams(query);
  const integer = (name, least, most, otherwise) => {
    const value = Number(given.get(name) ?? NaN);
    return Number.isSafeInteger(value) && value >= least && value <= most ? value : otherwise;
  };
  const json = (name, otherwise) => {
    try {
      return JSON.parse(given.get(name) ?? "null") ?? otherwise;
    } catch {
      return otherwise;
    }
  };
  const truncation = Number(given.get("truncation") ?? 1);
  const condition = {};
  for (const [name, value] of given) {
    if (name.startsWith("condition.") && value !== "" && Number.isFinite(Number(value))) condition[name.slice(10)] = Number(value);
  }
  const keep = json("keep", []);
  return {
    page: PAGES.includes(page) ? page : "play",
    model: given.get("model") ?? undefined,
    seed: integer("seed", 0, MOST_SEED - 1, 7),
    offset: integer("offset", 0, MOST_SEED - 1001, 0),
    n: integer("n", 1, 400, undefined),
    label: given.get("label") || undefined,
    truncation: truncation > 0 && truncation <= 1 ? truncation : 1,
    best: integer("best", 1, 64, 1),
    condition,
    where: whereOf(json("where", {})),
    keep: Array.isArray(keep) ? keep.filter(isAddress).slice(0, 12) : [],
  };
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const isPlace = (value) => Number.isSafeInteger(value) && value >= 0 && value < MOST_SEED;

// What somebody else has written may be anything.
function isAddress(one) {
  if (!isObject(one) || !isPlace(one.seed) || !isPlace(one.row)) return false;
  const { label, truncation, condition } = one;
  return (label === undefined || typeof label === "string") && (truncation === undefined || (truncation > 0 && truncation <= 1))
    && (condition === undefined || (isObject(condition) && Object.values(condition).every(Number.isFinite)));
}

const isEnd = (value) => typeof value === "string" || Number.isFinite(value);

function whereOf(given) {
  const found = {};
  for (const [name, of] of Object.entries(isObject(given) ? given : {})) {
    if (!isObject(of)) continue;
    found[name] = {};
    for (const member of ["min", "max"]) if (isEnd(of[member])) found[name][member] = of[member];
    if (Array.isArray(of.in)) found[name].in = of.in.filter((value) => isEnd(value) || typeof value === "boolean");
    if (of.missing === true) found[name].missing = true;
  }
  return found;
}

export function fragment(state) {
  const query = new URLSearchParams();
  if (state.model) query.set("model", state.model);
  if (state.page === "play") {
    query.set("seed", state.seed);
    if (state.offset) query.set("offset", state.offset);
    if (state.n) query.set("n", state.n);
    if (state.label !== undefined) query.set("label", state.label);
    for (const [name, value] of Object.entries(state.condition)) query.set(`condition.${name}`, value);
    if (state.truncation !== 1) query.set("truncation", state.truncation);
    if (state.best > 1) query.set("best", state.best);
    if (Object.keys(state.where).length) query.set("where", JSON.stringify(state.where));
    if (state.keep.length) query.set("keep", JSON.stringify(state.keep));
  }
  const text = query.toString();
  return `#${state.page}${text ? `?${text}` : ""}`;
}

// Write it without a step in the browser's history.
export function write(state) {
  history.replaceState(null, "", fragment(state));
}
