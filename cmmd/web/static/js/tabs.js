// Tabs, as the ARIA authoring practices have them: arrow keys choose, the address remembers.

import {h, mark} from "./dom.js";

export class Tabs {
  #tabs = new Map();
  #chosen = null;
  #choose;

  /** `tabs`: [name, title, element]; `choose(name)` is called whenever another one is to be seen. */
  constructor({label, tabs, choose}) {
    this.#choose = choose;
    const list = h("div", {role: "tablist", "aria-label": label, class: "tabs", on: {keydown: (event) => this.#key(event)}});
    const panels = tabs.map(([name, title, content]) => {
      const tab = h("button", {role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`, tabindex: "-1", on: {click: () => this.choose(name)}}, title);
      const panel = h("section", {role: "tabpanel", id: `panel-${name}`, "aria-labelledby": `tab-${name}`, tabindex: "0", hidden: true}, content);
      this.#tabs.set(name, {tab, panel});
      list.append(tab);
      return panel;
    });
    this.element = h("div", {class: "tabbed"}, list, panels);
  }

  get chosen() {
    return this.#chosen;
  }

  choose(name) {
    const wanted = this.#tabs.has(name) ? name : [...this.#tabs.keys()][0];
    if (wanted === this.#chosen) return;
    this.#chosen = wanted;
    for (const [key, {tab, panel}] of this.#tabs) {
      mark(tab, "aria-selected", String(key === wanted));
      mark(tab, "tabindex", key === wanted ? "0" : "-1");
      panel.hidden = key !== wanted;
    }
    // Sideways only: to scroll the page down to the tabs would hide what stands above them.
    const {tab} = this.#tabs.get(wanted);
    const list = tab.parentElement;
    list.scrollLeft = Math.max(
      tab.offsetLeft + tab.offsetWidth - list.clientWidth - list.offsetLeft,
      Math.min(list.scrollLeft, tab.offsetLeft - list.offsetLeft),
    );
    this.#choose(wanted);
  }

  #key(event) {
    const names = [...this.#tabs.keys()];
    const place = names.indexOf(this.#chosen);
    const next = {ArrowRight: (place + 1) % names.length, ArrowLeft: (place - 1 + names.length) % names.length, Home: 0, End: names.length - 1}[event.key];
    if (next === undefined) return;
    event.preventDefault();
    this.choose(names[next]);
    this.#tabs.get(names[next]).tab.focus();
  }
}
