// Gauges of what is looked at first. Their scale is for the eye; limits are the controller's, and show as alarms.

import {fixed} from "../format.js";
import {h, icon, mark, put, s, say} from "../dom.js";
import {t, titled} from "../i18n.js";

/** point, lowest and highest of the scale, decimals, and the signals that say it is out of bounds. */
/** @type {[string, number, number, number, RegExp][]} */
const GAUGES = [
  ["load", 0, 120, 0, /^over(power|load)/],
  ["active_power", 0, null, 0, /^overpower/],
  ["generator_frequency", 45, 65, 2, /^(over|under)frequency|^generator_(over|under)frequency|^frequency_loss/],
  ["engine_speed", 0, 2000, 0, /^(over|under)speed|^speed_signal/],
  ["oil_pressure", 0, 800, 0, /oil_pressure/],
  ["coolant_temperature", 0, 120, 0, /temperature/],
  ["fuel_level", 0, 100, 0, /fuel/],
  ["battery_voltage", 0, 32, 1, /battery|charg/],
];
const ORDER = {shutdown: 0, alarm: 1, warning: 2};
const FROM = -210;
const TURN = 240;
const R = 40;

function arc(from, to) {
  const at = (part) => {
    const angle = ((FROM + TURN * part) * Math.PI) / 180;
    return `${(50 + R * Math.cos(angle)).toFixed(2)} ${(50 + R * Math.sin(angle)).toFixed(2)}`;
  };
  return `M${at(from)}A${R} ${R} 0 ${(to - from) * TURN > 180 ? 1 : 0} 1 ${at(to)}`;
}

export class Gauges {
  #gauges = new Map();

  constructor() {
    this.element = h("div", {class: "gauges"});
  }

  show(live) {
    const points = new Map(live.points.map((one) => [one.name, one]));
    const there = GAUGES.filter(([name]) => points.has(name));
    if (there.map(([name]) => name).join() !== [...this.#gauges.keys()].join()) {
      this.#gauges = new Map(there.map(([name, low, high]) => [name, makeGauge(points.get(name), low, high)]));
      put(
        this.element,
        [...this.#gauges.values()].map((one) => one.element),
      );
    }
    for (const [name, low, high, decimals, pattern] of there) {
      const worst = live.signals
        .filter((one) => one.active && one.severity in ORDER && pattern.test(one.name))
        .sort((a, b) => ORDER[a.severity] - ORDER[b.severity])[0];
      fillGauge(this.#gauges.get(name), points.get(name), low, high, decimals, worst);
    }
  }
}

function makeGauge(point, low, high) {
  const filled = s("path", {class: "filled"});
  const value = s("text", {class: "value", x: 50, y: 54});
  const unit = s("text", {class: "unit", x: 50, y: 70}, point.unit);
  const note = h("span", {class: "note"});
  const element = h(
    "div",
    {class: "gauge"},
    s(
      "svg",
      {viewBox: "0 4 100 82", "aria-hidden": "true", focusable: "false"},
      s("path", {class: "track", d: arc(0, 1)}),
      filled,
      value,
      unit,
      s("text", {class: "end", x: 17, y: 84}, low),
      high === null ? null : s("text", {class: "end", x: 83, y: 84}, high),
    ),
    h("span", {class: "name"}, titled(point.title)),
    note,
  );
  const spoken = h("span", {class: "hidden"});
  element.append(spoken);
  return {element, filled, value, note, spoken, most: 0};
}

function fillGauge(gauge, point, low, high, decimals, worst) {
  const {value} = point;
  const top = high ?? (gauge.most = Math.max(gauge.most, 100, nice(value ?? 0)));
  const part = value === null ? 0 : Math.max(0, Math.min(1, (value - low) / (top - low)));
  mark(gauge.filled, "d", part > 0.004 ? arc(0, part) : null);
  say(gauge.value, value === null ? "?" : fixed(value, decimals));
  mark(gauge.element, "data-quality", point.quality);
  mark(gauge.element, "data-severity", worst?.severity ?? null);
  const note = worst ? titled(worst.title) : point.quality === "good" ? "" : t(`quality.${point.quality}`);
  if (gauge.noted !== note) put(gauge.note, note ? [icon(worst ? worst.severity : "unknown"), note] : null);
  gauge.noted = note;
  say(gauge.spoken, `${value === null ? t("quality.unknown") : fixed(value, decimals)} ${point.unit}`);
}

/** The next round number above. */
function nice(value) {
  const step = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return Math.ceil(value / step) * step;
}
