// A question before something is done that cannot be taken back.

import {h} from "./dom.js";
import {t} from "./i18n.js";

const READ_MS = 500; // a second click on what opened it is not a yes

let serial = 0;

/**
 * Ask; resolves to true where somebody has said yes. The focus is on "cancel" first.
 * `signal`: of what is asked about; once that is gone, so is the question, and the answer is no.
 */
export function confirm({title, text, yes, signal, danger = false}) {
  const id = `dialog-${++serial}`;
  return new Promise((resolve) => {
    if (signal.aborted) return resolve(false);
    const agree = h("button", {type: "button", class: danger ? "primary danger" : "primary", disabled: true, on: {click: (event) => event.timeStamp - opened >= READ_MS && dialog.close("yes")}}, yes);
    const cancel = h("button", {type: "button", autofocus: true, on: {click: () => dialog.close("")}}, t("cancel"));
    const dialog = h("dialog", {class: danger ? "danger" : "", "aria-labelledby": `${id}-title`, "aria-describedby": `${id}-text`},
      h("h2", {id: `${id}-title`}, title), h("div", {id: `${id}-text`}, text),
      h("div", {class: "buttons"}, cancel, agree));
    const gone = () => dialog.close("");
    signal.addEventListener("abort", gone);
    document.body.append(dialog);
    dialog.showModal();
    const opened = performance.now();
    const enabling = setTimeout(() => {
      agree.disabled = false;
    }, READ_MS + 20);
    dialog.addEventListener("close", () => {
      clearTimeout(enabling);
      signal.removeEventListener("abort", gone);
      dialog.remove();
      resolve(dialog.returnValue === "yes" && !signal.aborted);
    });
  });
}
