// A question before something is done that cannot be taken back, and a notice that must be read.

import {h} from "./dom.js";
import {t} from "./i18n.js";

const READ_MS = 500; // a second click on what opened it is not a yes

let serial = 0;

/**
 * Ask; resolves to true where somebody has said yes. The focus is on "cancel" first, or on `field`, an input that has to
 * be filled in before yes counts.
 * `signal`: of what is asked about; once that is gone, so is the question, and the answer is no.
 */
export function confirm({title, text, yes, signal, danger = false, field = null}) {
  const id = `dialog-${++serial}`;
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve(false);
      return;
    }
    const agree = h(
      "button",
      {
        type: "button",
        class: danger ? "primary danger" : "primary",
        disabled: true,
        on: {
          click: (event) => {
            if (event.timeStamp - opened < READ_MS) return;
            if (field?.value.trim() === "") field.focus();
            else dialog.close("yes");
          },
        },
      },
      yes,
    );
    field?.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault(); // else the same key would press what has the focus once the question is gone
      agree.click();
    });
    const cancel = h("button", {type: "button", autofocus: field === null, on: {click: () => dialog.close("")}}, t("cancel"));
    const dialog = h(
      "dialog",
      {class: danger ? "danger" : "", "aria-labelledby": `${id}-title`, "aria-describedby": `${id}-text`},
      h("h2", {id: `${id}-title`}, title),
      h("div", {id: `${id}-text`}, text),
      h("div", {class: "buttons"}, cancel, agree),
    );
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

/** Say something that must be read, whatever page is shown by then. */
export function notice({title, text}) {
  const id = `dialog-${++serial}`;
  const dialog = h(
    "dialog",
    {class: "danger", role: "alertdialog", "aria-labelledby": `${id}-title`, "aria-describedby": `${id}-text`},
    h("h2", {id: `${id}-title`}, title),
    h("div", {id: `${id}-text`}, text),
    h("div", {class: "buttons"}, h("button", {type: "button", class: "primary", autofocus: true, on: {click: () => dialog.close()}}, t("notice.read"))),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
