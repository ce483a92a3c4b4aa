// The one-line diagram: mains, breaker, load, breaker, generator. What is not known looks unknown, never open.

import {fixed} from "../format.js";
import {h, mark, put, s, say} from "../dom.js";
import {t} from "../i18n.js";

const LIVE_V = 40; // less than that between a phase and neutral is a dead line

const WIDE = {
  box: "0 0 860 270", mains: [90, 96], generator: [770, 96], left: [270, 96], right: [590, 96], load: [430, 214], bus: [430, 96], text: 1,
};
const NARROW = {
  box: "0 0 400 372", mains: [62, 80], generator: [338, 80], left: [62, 196], right: [338, 196], load: [200, 326], bus: [200, 256], text: 1,
};

/** yes, no or unknown, as a word for the style sheet. */
const word = (known) => (known === null || known === undefined ? "unknown" : known ? "yes" : "no");
const both = (a, b) => (a === false || b === false ? false : a === null || b === null ? null : true);
const either = (a, b) => (a === true || b === true ? true : a === null || b === null ? null : false);

/** What the diagram shows, made of a live record; everything true, false or null for unknown. */
export function facts(live) {
  const points = new Map(live.points.map((one) => [one.name, one]));
  // What an offline device last said need not be so any more: here that is as good as unknown.
  const now = live.online && !live.stale;
  const signals = new Map(live.signals.map((one) => [one.name, now ? one.active : null]));
  const value = (name) => {
    const point = points.get(name);
    return point && point.quality === "good" ? point.value : null;
  };
  const volts = (side) => {
    const known = ["l1_n", "l2_n", "l3_n"].map((phase) => value(`${side}_voltage_${phase}`)).filter((one) => one !== null);
    return known.length ? Math.max(...known) : null;
  };
  const live_ = (side) => {
    const most = volts(side);
    return most === null ? null : most > LIVE_V;
  };
  const mains = live_("mains");
  const generator = live_("generator");
  const mainsClosed = signals.get("mains_on_load") ?? null;
  const generatorClosed = signals.get("generator_on_load") ?? null;
  const byMains = both(mainsClosed, mains);
  const byGenerator = both(generatorClosed, generator);
  return {
    mains, generator, mainsClosed, generatorClosed, byMains, byGenerator,
    mainsNormal: signals.get("mains_normal") ?? null,
    turns: now ? live.engine_turns : null,
    bus: either(byMains, byGenerator),
    mainsVolts: volts("mains"), mainsHertz: value("mains_frequency"),
    generatorVolts: volts("generator"), generatorHertz: value("generator_frequency"),
    power: value("active_power"), load: value("load"),
  };
}

export class Diagram {
  #layout = null;
  #facts = null;
  #resized;

  constructor() {
    this.words = h("p", {class: "hidden"});
    this.box = h("div", {class: "diagram"});
    this.element = h("figure", {class: "diagram-figure"}, this.box, this.words);
    this.#resized = new ResizeObserver(([{contentRect}]) => this.#fit(contentRect.width));
    this.#resized.observe(this.box);
  }

  close() {
    this.#resized.disconnect();
  }

  show(live) {
    this.#facts = facts(live);
    this.#draw();
  }

  #fit(width) {
    const layout = width < 560 ? NARROW : WIDE;
    if (layout === this.#layout || width === 0) return;
    this.#layout = layout;
    this.#build();
    this.#draw();
  }

  #build() {
    const at = this.#layout;
    const wide = at === WIDE;
    const line = (name, ...points) => s("polyline", {class: `wire w-${name}`, points: points.map((one) => one.join(",")).join(" ")});
    const [mx, my] = at.mains;
    const [gx, gy] = at.generator;
    const [lx, ly] = at.left;
    const [rx, ry] = at.right;
    const [bx, by] = at.bus;
    const wires = wide
      ? [line("mains", [mx + 38, my], [lx - 34, ly]), line("left", [lx + 34, ly], [bx, by]), line("load", [bx, by], [bx, at.load[1] - 30]),
        line("right", [bx, by], [rx - 34, ry]), line("generator", [rx + 34, ry], [gx - 38, gy])]
      : [line("mains", [mx, my + 38], [lx, ly - 26]), line("left", [lx, ly + 26], [lx, by], [bx, by]), line("load", [bx, by], [bx, at.load[1] - 30]),
        line("right", [bx, by], [rx, by], [rx, ry + 26]), line("generator", [rx, ry - 26], [gx, gy + 38])];
    const turned = wide ? "" : " rotate(90)";
    this.parts = {
      mains: node("mains", at.mains, s("path", {d: "M-9 20 0-22 9 20M-15-8H15M-12-15H12M-6 6H6", class: "sign"})),
      generator: node("generator", at.generator, s("circle", {r: 26, class: "sign"}), s("text", {class: "letter", y: 2}, "G"), s("path", {d: "M-9 14c3-7 6-7 9 0s6 7 9 0", class: "sign thin"})),
      left: breaker("left", at.left, turned), right: breaker("right", at.right, turned),
      load: node("load", at.load, s("path", {d: "M-22 20V-2L0-20 22-2V20z", class: "sign"}), s("path", {d: "M-5 20V6H5V20", class: "sign thin"})),
      wires: Object.fromEntries(["mains", "left", "load", "right", "generator"].map((name, place) => [name, wires[place]])),
      knot: s("circle", {class: "knot", cx: bx, cy: by, r: 5}),
    };
    const p = this.parts;
    const label = (name, x, y, anchor = "middle") => {
      const texts = [s("text", {class: "label", x, y, "text-anchor": anchor}), s("text", {class: "value", x, y: y + 22, "text-anchor": anchor}), s("text", {class: "value", x, y: y + 42, "text-anchor": anchor})];
      p[`${name}Label`] = texts;
      return texts;
    };
    const labels = wide
      ? [label("mains", mx, my + 66), label("generator", gx, gy + 66), label("left", lx, ly - 62), label("right", rx, ry - 62), label("load", at.load[0] + 46, at.load[1] - 8, "start")]
      : [label("mains", mx + 50, my - 22, "start"), label("generator", gx - 50, gy - 22, "end"), label("left", lx + 36, ly - 6, "start"), label("right", rx - 36, ry - 6, "end"), label("load", at.load[0] + 46, at.load[1] - 8, "start")];
    put(this.box, s("svg", {viewBox: at.box, "aria-hidden": "true", focusable: "false"},
      wires, p.knot, p.mains, p.generator, p.left, p.right, p.load, labels));
  }

  /** Where there is room for both, the frequency, too. */
  #volts(voltage, hertz) {
    const text = voltage === null ? "? V" : `${fixed(voltage, 0)} V`;
    return hertz === null || this.#layout === NARROW ? text : `${text}  ${fixed(hertz, 2)} Hz`;
  }

  #draw() {
    if (!this.#layout || !this.#facts) return;
    const is = this.#facts;
    const p = this.parts;
    const wire = (name, live) => mark(p.wires[name], "data-live", word(live));
    wire("mains", is.mains);
    wire("load", is.bus);
    wire("right", is.bus);
    wire("left", is.bus);
    wire("generator", is.generator);
    mark(p.knot, "data-live", word(is.bus));
    mark(p.load, "data-live", word(is.bus));
    mark(p.mains, "data-live", is.mainsNormal === false ? "bad" : word(is.mains));
    mark(p.generator, "data-live", word(is.generator));
    mark(p.generator, "data-turns", word(is.turns));
    for (const [name, closed] of [["left", is.mainsClosed], ["right", is.generatorClosed]]) {
      mark(p[name], "data-closed", word(closed));
      write(p[`${name}Label`], t(name === "left" ? "diagram.mains_breaker" : "diagram.generator_breaker"), t(`breaker.${word(closed)}`));
    }
    write(p.mainsLabel, t("diagram.mains"), this.#volts(is.mainsVolts, is.mainsHertz), is.mainsNormal === null ? t("mains.unknown") : t(is.mainsNormal ? "mains.normal" : "mains.failed"));
    write(p.generatorLabel, t("diagram.generator"), this.#volts(is.generatorVolts, is.generatorHertz), t(`turns.${word(is.turns)}`));
    write(p.loadLabel, t("diagram.load"), is.byGenerator === false && is.byMains === true ? t("diagram.by_mains") : loadText(is), is.byGenerator === true ? t("diagram.by_generator") : "");
    say(this.words, [
      `${t("diagram.mains")}: ${is.mainsNormal === null ? t("mains.unknown") : t(is.mainsNormal ? "mains.normal" : "mains.failed")}`,
      `${t("diagram.mains_breaker")}: ${t(`breaker.${word(is.mainsClosed)}`)}`,
      `${t("diagram.load")}: ${t(`fed.${word(is.bus)}`)}`,
      `${t("diagram.generator_breaker")}: ${t(`breaker.${word(is.generatorClosed)}`)}`,
      `${t("diagram.generator")}: ${t(`turns.${word(is.turns)}`)}`,
    ].join("; "));
  }
}

function loadText(is) {
  if (is.bus === false) return t("fed.no");
  const parts = [];
  if (is.power !== null) parts.push(`${fixed(is.power, 0)} kW`);
  if (is.load !== null) parts.push(`${fixed(is.load, 0)} %`);
  return parts.join(" · ") || t("fed.unknown");
}

function write(texts, ...lines) {
  texts.forEach((text, place) => say(text, lines[place] ?? ""));
}

const node = (name, [x, y], ...sign) => s("g", {class: `node n-${name}`, transform: `translate(${x} ${y})`}, s("rect", {class: "plate", x: -38, y: -38, width: 76, height: 76, rx: 12}), sign);

function breaker(name, [x, y], turned) {
  return s("g", {class: `breaker b-${name}`, transform: `translate(${x} ${y})${turned}`},
    s("rect", {class: "plate", x: -34, y: -26, width: 68, height: 52, rx: 8}),
    s("path", {class: "post", d: "M-34 0H-18M18 0H34"}),
    s("circle", {class: "post", cx: -18, cy: 0, r: 3.5}), s("circle", {class: "post", cx: 18, cy: 0, r: 3.5}),
    s("path", {class: "blade closed", d: "M-18 0H18"}), s("path", {class: "blade open", d: "M-18 0 12-20"}),
    s("text", {class: "letter blade unknown", y: 1, transform: turned ? "rotate(-90)" : null}, "?"));
}
