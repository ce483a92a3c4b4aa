// All coils and registers that are known, as they are.

import {h, put} from "../dom.js";
import {t} from "../i18n.js";

const PER_ROW = 10;

export class Raw {
  constructor() {
    this.hex = h("input", {type: "checkbox", id: "raw-hex", on: {change: () => this.#draw()}});
    this.box = h("div", {class: "raw"});
    this.element = h("div", {}, h("p", {class: "muted"}, t("raw.help")), h("label", {class: "check"}, this.hex, t("raw.hex")), this.box);
  }

  show(live) {
    this.runs = live.raw ?? [];
    this.#draw();
  }

  #draw() {
    const scrolled = this.box.scrollLeft;
    put(this.box, this.runs.length ? this.runs.map((run) => this.#table(run)) : h("p", {class: "muted"}, t("raw.nothing")));
    this.box.scrollLeft = scrolled;
  }

  #table({function: code, address, values}) {
    const last = address + values.length - 1;
    const rows = [];
    for (let from = Math.floor(address / PER_ROW) * PER_ROW; from <= last; from += PER_ROW) {
      rows.push(
        h(
          "tr",
          {},
          h("th", {scope: "row"}, from),
          Array.from({length: PER_ROW}, (_, column) => {
            const place = from + column - address;
            if (place < 0 || place >= values.length) return h("td", {class: "outside"});
            const value = values[place];
            return h("td", {class: value === null ? "unknown" : value ? "set" : ""}, value === null ? "?" : this.#text(value, code));
          }),
        ),
      );
    }
    const head = h(
      "tr",
      {},
      h("td", {}),
      Array.from({length: PER_ROW}, (_, column) => h("th", {scope: "col"}, `+${column}`)),
    );
    return h(
      "div",
      {class: "scroll", tabindex: "0", role: "region", "aria-label": t(`raw.function_${code}`)},
      h("table", {class: "registers"}, h("caption", {}, `${t(`raw.function_${code}`)} ${address}–${last}`), h("thead", {}, head), h("tbody", {}, rows)),
    );
  }

  #text(value, code) {
    if (code <= 2 || !this.hex.checked) return String(value);
    return value.toString(16).toUpperCase().padStart(4, "0");
  }
}
