// The one-line diagram: mains, breaker, load, breaker, generator. What is not known looks unknown, never open.

import {fixed} from "../format.js";
import {h, mark, put, s, say} from "../dom.js";
import {t} from "../i18n.js";

const LIVE_V = 40; // less than that between a phase and neutral is a dead line
const UNEVEN = 0.1; // of the highest phase: so much lower, and it is shown which one is
const STEP = {label: 18, value: 20}; // from line to line, as the style sheet has the sizes of the text

const WIDE = {
  box: "0 0 860 270",
  mains: [90, 96],
  generator: [770, 96],
  left: [270, 96],
  right: [590, 96],
  load: [430, 214],
  bus: [430, 96],
};
const NARROW = {
  box: "0 0 400 340",
  mains: [42, 50],
  generator: [358, 50],
  left: [42, 164],
  right: [358, 164],
  load: [200, 290],
  bus: [200, 224],
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
  const volts = (side) =>
    ["l1_n", "l2_n", "l3_n"]
      .map((phase) => `${side}_voltage_${phase}`)
      .filter((name) => points.has(name))
      .map(value);
  const live_ = (side) => {
    const known = volts(side).filter((one) => one !== null);
    return known.length ? Math.max(...known) > LIVE_V : null;
  };
  const mains = live_("mains");
  const generator = live_("generator");
  const mainsClosed = signals.get("mains_on_load") ?? null;
  const generatorClosed = signals.get("generator_on_load") ?? null;
  const byMains = both(mainsClosed, mains);
  const byGenerator = both(generatorClosed, generator);
  return {
    mains,
    generator,
    mainsClosed,
    generatorClosed,
    byMains,
    byGenerator,
    mainsNormal: signals.get("mains_normal") ?? null,
    turns: now ? turns(live.engine_turns, value("engine_speed")) : null,
    bus: either(byMains, byGenerator),
    mainsVolts: volts("mains"),
    mainsHertz: value("mains_frequency"),
    generatorVolts: volts("generator"),
    generatorHertz: value("generator_frequency"),
    power: value("active_power"),
    load: value("load"),
  };
}

/** Whether the engine turns: also while it is cranked or runs down, which is no state of running yet, or any more. */
export function turns(running, speed) {
  return running || speed > 0 ? true : running;
}

/** The voltage of phases; where they differ, each of them, or, with little room, from the lowest to the highest. */
export function voltage(phases, short) {
  const known = phases.filter((one) => one !== null);
  if (!known.length) return "? V";
  const [least, most] = [Math.min(...known), Math.max(...known)];
  const uneven = most > LIVE_V && most - least > UNEVEN * most;
  if (!uneven && known.length === phases.length) return `${fixed(most, 0)} V`;
  if (!short) return `${phases.map((one) => (one === null ? "?" : fixed(one, 0))).join(" / ")} V`;
  return `${uneven ? `${fixed(least, 0)}–` : ""}${fixed(most, 0)}${known.length < phases.length ? " / ?" : ""} V`;
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
      ? [
          line("mains", [mx + 38, my], [lx - 34, ly]),
          line("left", [lx + 34, ly], [bx, by]),
          line("load", [bx, by], [bx, at.load[1] - 30]),
          line("right", [bx, by], [rx - 34, ry]),
          line("generator", [rx + 34, ry], [gx - 38, gy]),
        ]
      : [
          line("mains", [mx, my + 38], [lx, ly - 26]),
          line("left", [lx, ly + 26], [lx, by], [bx, by]),
          line("load", [bx, by], [bx, at.load[1] - 30]),
          line("right", [bx, by], [rx, by], [rx, ry + 26]),
          line("generator", [rx, ry - 26], [gx, gy + 38]),
        ];
    const turned = wide ? "" : " rotate(90)";
    this.parts = {
      mains: node("mains", at.mains, s("path", {d: "M-9 20 0-22 9 20M-15-8H15M-12-15H12M-6 6H6", class: "sign"})),
      generator: node(
        "generator",
        at.generator,
        s("circle", {r: 26, class: "sign"}),
        s("text", {class: "letter", y: 2}, "G"),
        s("path", {d: "M-9 14c3-7 6-7 9 0s6 7 9 0", class: "sign thin"}),
      ),
      left: breaker("left", at.left, turned),
      right: breaker("right", at.right, turned),
      load: node("load", at.load, s("path", {d: "M-22 20V-2L0-20 22-2V20z", class: "sign"}), s("path", {d: "M-5 20V6H5V20", class: "sign thin"})),
      wires: Object.fromEntries(["mains", "left", "load", "right", "generator"].map((name, place) => [name, wires[place]])),
      knot: s("circle", {class: "knot", cx: bx, cy: by, r: 5}),
    };
    const p = this.parts;
    const label = (name, room, x, y, anchor = "middle") => (p[`${name}Label`] = new Label(room, x, y, anchor)).element;
    const [ox, oy] = at.load;
    const labels = wide
      ? [
          label("mains", 176, mx, my + 66),
          label("generator", 176, gx, gy + 66),
          label("left", 240, lx, ly - 62),
          label("right", 240, rx, ry - 62),
          label("load", 190, ox + 46, oy - 8, "start"),
        ]
      : [
          label("mains", 108, mx + 46, my - 24, "start"),
          label("generator", 108, gx - 46, gy - 24, "end"),
          label("left", 116, lx + 38, ly - 16, "start"),
          label("right", 116, rx - 38, ry - 16, "end"),
          label("load", 152, ox + 46, oy - 24, "start"),
        ];
    put(this.box, s("svg", {viewBox: at.box, "aria-hidden": "true", focusable: "false"}, wires, p.knot, p.mains, p.generator, p.left, p.right, p.load, labels));
  }

  /** Where there is room for both, the frequency, too. */
  #volts(phases, hertz) {
    const text = voltage(phases, this.#layout === NARROW);
    return hertz === null || this.#layout === NARROW || text.includes("/") ? text : `${text}  ${fixed(hertz, 2)} Hz`;
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
    for (const [name, closed] of [
      ["left", is.mainsClosed],
      ["right", is.generatorClosed],
    ]) {
      mark(p[name], "data-closed", word(closed));
      write(p[`${name}Label`], t(name === "left" ? "diagram.mains_breaker" : "diagram.generator_breaker"), t(`breaker.${word(closed)}`));
    }
    write(
      p.mainsLabel,
      t("diagram.mains"),
      this.#volts(is.mainsVolts, is.mainsHertz),
      is.mainsNormal === null ? t("mains.unknown") : t(is.mainsNormal ? "mains.normal" : "mains.failed"),
    );
    write(p.generatorLabel, t("diagram.generator"), this.#volts(is.generatorVolts, is.generatorHertz), t(`turns.${word(is.turns)}`));
    write(
      p.loadLabel,
      t("diagram.load"),
      is.byGenerator === false && is.byMains === true ? t("diagram.by_mains") : loadText(is),
      is.byGenerator === true ? t("diagram.by_generator") : "",
    );
    say(
      this.words,
      [
        `${t("diagram.mains")}: ${is.mainsNormal === null ? t("mains.unknown") : t(is.mainsNormal ? "mains.normal" : "mains.failed")}`,
        `${t("diagram.mains_breaker")}: ${t(`breaker.${word(is.mainsClosed)}`)}`,
        `${t("diagram.load")}: ${t(`fed.${word(is.bus)}`)}`,
        `${t("diagram.generator_breaker")}: ${t(`breaker.${word(is.generatorClosed)}`)}`,
        `${t("diagram.generator")}: ${t(`turns.${word(is.turns)}`)}`,
      ].join("; "),
    );
  }
}

function loadText(is) {
  if (is.bus === false) return t("fed.no");
  const parts = [];
  if (is.power !== null) parts.push(`${fixed(is.power, 0)} kW`);
  if (is.load !== null) parts.push(`${fixed(is.load, 0)} %`);
  return parts.join(" · ") || t("fed.unknown");
}

function write(label, ...lines) {
  label.write(lines);
}

/** Lines of text, the first of them what it is about. What is too long goes on in the next line, whatever the font. */
class Label {
  #room;
  #at;
  #written = null;

  constructor(room, x, y, anchor) {
    this.#room = room;
    this.#at = [x, y];
    this.element = s("g", {"text-anchor": anchor});
  }

  write(lines) {
    const written = lines.join("\n");
    if (written === this.#written) return;
    this.#written = written;
    put(this.element);
    let below = this.#at[1];
    lines.filter(Boolean).forEach((line, place) => {
      const kind = place ? "value" : "label";
      let text = this.#line(kind, "");
      for (const word of line.split(" ")) {
        const before = text.textContent;
        say(text, before ? `${before} ${word}` : word);
        if (before && text.getComputedTextLength() > this.#room) {
          say(text, before);
          text = this.#line(kind, word);
        }
      }
    });
    for (const text of this.element.children) {
      if (text.getComputedTextLength() > this.#room) {
        // a long word
        mark(text, "textLength", this.#room);
        mark(text, "lengthAdjust", "spacingAndGlyphs");
      }
      if (text.previousSibling) below += STEP[text.getAttribute("class")] + (text.previousSibling.getAttribute("class") === text.getAttribute("class") ? 0 : 2);
      mark(text, "y", below);
    }
  }

  #line(kind, said) {
    const text = s("text", {class: kind, x: this.#at[0]}, said);
    this.element.append(text);
    return text;
  }
}

const node = (name, [x, y], ...sign) =>
  s("g", {class: `node n-${name}`, transform: `translate(${x} ${y})`}, s("rect", {class: "plate", x: -38, y: -38, width: 76, height: 76, rx: 12}), sign);

function breaker(name, [x, y], turned) {
  return s(
    "g",
    {class: `breaker b-${name}`, transform: `translate(${x} ${y})${turned}`},
    s("rect", {class: "plate", x: -34, y: -26, width: 68, height: 52, rx: 8}),
    s("path", {class: "post", d: "M-34 0H-18M18 0H34"}),
    s("circle", {class: "post", cx: -18, cy: 0, r: 3.5}),
    s("circle", {class: "post", cx: 18, cy: 0, r: 3.5}),
    s("path", {class: "blade closed", d: "M-18 0H18"}),
    s("path", {class: "blade open", d: "M-18 0 12-20"}),
    s("text", {class: "letter blade unknown", y: 1, transform: turned ? "rotate(-90)" : null}, "?"),
  );
}
