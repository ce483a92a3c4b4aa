// A question before something is done that cannot be taken back.

import {h} from "./dom.js";
import {t} from "./i18n.js";

let serial = 0;

/** Ask; resolves to true where somebody has said yes. The focus is on "cancel" first. */
export function confirm({title, text, yes, danger = false}) {
  const id = `dialog-${++serial}`;
  return new Promise((resolve) => {
    const cancel = h("button", {type: "button", autofocus: true, on: {click: () => dialog.close("")}}, t("cancel"));
    const dialog = h("dialog", {class: danger ? "danger" : "", "aria-labelledby": `${id}-title`, "aria-describedby": `${id}-text`},
      h("h2", {id: `${id}-title`}, title), h("div", {id: `${id}-text`}, text),
      h("div", {class: "buttons"}, cancel, h("button", {type: "button", class: danger ? "primary danger" : "primary", on: {click: () => dialog.close("yes")}}, yes)));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
