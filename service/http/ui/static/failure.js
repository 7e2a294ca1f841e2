import { h } from "./elements.js";
import { Refusal, key } from "./server.js";

// What is shown where there is nothing else to show: why, and what can be done about it.
export function failure(error, again) {
  if (!(error instanceof Refusal)) console.error(error);
  const closed = error.status === 401 || (error.status === 403 && !error.type.endsWith(":closed"));
  const parts = [h("h2", {}, error.title ?? "Something went wrong"), h("p", {}, error.message)];
  if (closed) {
    const field = h("input", { type: "password", id: "key", autocomplete: "off", required: true });
    const taken = (event) => {
      event.preventDefault();
      key.set(field.value.trim());
      again();
    };
    parts.push(h("form", { class: "row", on: { submit: taken } }, h("label", { for: "key" }, "Key"), field, h("button", { type: "submit" }, "Use it")));
    parts.push(h("p", { class: "small" }, "It is kept until this tab is closed."));
  } else {
    const button = h("button", { type: "button", on: { click: again } }, "Try again");
    parts.push(button);
    if (error.status === 0 || error.status === 429 || error.status === 503) {
      let left = Math.max(2, Math.ceil(error.retryAfter ?? 3));
      const clock = setInterval(() => {
        if (!button.isConnected) return clearInterval(clock);
        left -= 1;
        button.textContent = left > 0 ? `Try again (${left} s)` : "Trying …";
        if (left <= 0) {
          clearInterval(clock);
          again();
        }
      }, 1000);
    }
  }
  return h("section", { class: "failure", role: "alert" }, ...parts);
}
