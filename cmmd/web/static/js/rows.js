// A table of thousands of rows of which only those in sight exist: the page scrolls, rows are reused.

import {h, mark} from "./dom.js";

const MORE = 6; // rows above and below what is in sight

/**
 * `body`: the element that holds the rows; `make()`: a new row element; `fill(element, item)`: shows an item in it;
 * `key(item)`: what it is known by. All rows have the height that the style sheet gives --row-height.
 */
export class Rows {
  items = [];
  #body;
  #make;
  #fill;
  #key;
  #shown = new Map();
  #spare = [];
  #frame = 0;
  #height = 0;
  #listening = new AbortController();
  #resized;

  constructor({body, make, fill, key}) {
    this.#body = body;
    this.#make = make;
    this.#fill = fill;
    this.#key = key;
    const {signal} = this.#listening;
    addEventListener("scroll", () => this.draw(), {signal, passive: true});
    addEventListener("resize", () => this.#measure(), {signal});
    body.addEventListener("keydown", (event) => this.#step(event), {signal});
    this.#resized = new ResizeObserver(() => this.#measure());
    this.#resized.observe(body);
    this.#measure();
  }

  close() {
    this.#listening.abort();
    this.#resized.disconnect();
    cancelAnimationFrame(this.#frame);
  }

  /** Show other items, or the same in another order. */
  set(items) {
    this.items = items;
    this.#body.style.height = `${items.length * this.#height}px`;
    this.draw();
  }

  /** Draw what is in sight, with the next frame. */
  draw() {
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #measure() {
    const height = parseFloat(getComputedStyle(this.#body).getPropertyValue("--row-height")) || 44;
    if (height !== this.#height) {
      this.#height = height;
      this.set(this.items);
    } else {
      this.draw();
    }
  }

  #draw() {
    this.#frame = 0;
    const top = -this.#body.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / this.#height) - MORE);
    const last = Math.min(this.items.length, Math.ceil((top + innerHeight) / this.#height) + MORE);
    const active = /** @type {HTMLElement} */ (document.activeElement);
    const focused = this.#body.contains(active) ? active : null;
    const wanted = new Set();
    for (let place = first; place < last; place++) wanted.add(this.#key(this.items[place]));
    for (const [key, element] of this.#shown) {
      if (!wanted.has(key) && !element.contains(focused)) {
        this.#shown.delete(key);
        this.#spare.push(element);
        element.remove();
      }
    }
    let before = this.#body.firstElementChild;
    for (let place = first; place < last; place++) {
      const item = this.items[place];
      const key = this.#key(item);
      let element = this.#shown.get(key);
      if (!element) {
        element = this.#spare.pop() ?? this.#make();
        this.#shown.set(key, element);
      }
      if (element === before) before = before.nextElementSibling;
      else this.#body.insertBefore(element, before);
      const shift = `translateY(${place * this.#height}px)`;
      if (element.style.transform !== shift) element.style.transform = shift;
      mark(element, "aria-rowindex", place + 2);
      this.#fill(element, item);
    }
    if (focused && document.activeElement !== focused && focused.isConnected) focused.focus({preventScroll: true});
  }

  /** Arrow keys go from row to row. */
  #step(event) {
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
    const row = event.target.closest('[role="row"]');
    if (!step || !row || event.altKey || event.ctrlKey || event.metaKey) return;
    const place = Number(row.getAttribute("aria-rowindex")) - 2 + step;
    if (place < 0 || place >= this.items.length) return;
    event.preventDefault();
    const next = this.#shown.get(this.#key(this.items[place]));
    const link = next?.querySelector("a");
    if (!link) return;
    link.focus({preventScroll: true});
    next.scrollIntoView({block: "nearest"});
  }
}

/** A cell; `name` is its class and its column. */
export const cell = (name, ...children) => h("div", {role: "cell", class: `c-${name}`}, ...children);
