// All points in groups, each with unit and quality, and all signals.

import {number} from "../format.js";
import {h, icon, mark, put, say} from "../dom.js";
import {t, titled} from "../i18n.js";
import {inputTitle, saidText} from "./beside.js";

/** @type {[string, RegExp][]} */
const GROUPS = [
  ["mains", /^mains_(voltage|frequency)/],
  ["generator", /^generator_|^current_/],
  ["power", /power|^load$/],
  ["engine", /^(coolant|temperature|oil|fuel|engine_speed|battery|charger|ecu|turbo|inlet|exhaust|aux)/],
  ["states", /_state|_delay|^ats_/],
  ["counters", /^(run_time|starts|energy|time_to|total)/],
  ["other", /./],
];

/** [name of the group, its points], of the groups that have some. */
export function grouped(points) {
  const groups = new Map(GROUPS.map(([name]) => [name, []]));
  for (const point of points) groups.get(GROUPS.find(([, pattern]) => pattern.test(point.name))[0]).push(point);
  return [...groups].filter(([, all]) => all.length);
}

const SEVERITIES = ["shutdown", "alarm", "warning", "inhibit", "mode", "status"];

export class Values {
  #cells = new Map();
  #signals = new Map();
  #profile = null;

  constructor() {
    this.points = h("div", {class: "groups"});
    this.signals = h("div", {class: "groups"});
    this.filter = h("input", {type: "checkbox", id: "only-active", checked: innerWidth < 700, on: {change: () => this.#sift()}});
    this.element = h(
      "div",
      {},
      h("h3", {class: "hidden"}, t("values.points")),
      this.points,
      h("div", {class: "between"}, h("h3", {}, t("values.signals")), h("label", {class: "check"}, this.filter, t("values.only_active"))),
      this.signals,
      (this.none = h("p", {class: "muted", hidden: true}, t("values.none_active"))),
    );
  }

  show(live) {
    const key = [live.profile, live.points.length, ...live.signals.map((one) => one.name)].join(" ");
    if (key !== this.#profile) {
      this.#profile = key;
      this.#build(live);
    }
    const old = !live.online || live.stale;
    for (const point of live.points) showPoint(this.#cells.get(point.name), point);
    for (const [name, active] of Object.entries(live.inputs)) {
      const shown = this.#signals.get(`input ${name}`);
      const report = live.input_reports[name];
      showSignal(shown, {active, severity: "status"}, old || report?.stale);
      say(shown.said, report ? ` ${saidText(report)}${report.stale ? ` · ${t("input.stale")}` : ""}` : "");
    }
    for (const signal of live.signals) showSignal(this.#signals.get(signal.name), signal, old);
    this.#sift();
  }

  #build(live) {
    this.#cells.clear();
    this.#signals.clear();
    put(
      this.points,
      grouped(live.points).map(([name, points]) =>
        section(
          t(`group.${name}`),
          points.map((point) => {
            const value = h("td", {class: "num"});
            const quality = h("td", {class: "quality"});
            const row = h("tr", {}, h("th", {scope: "row"}, titled(point.title)), value, quality);
            this.#cells.set(point.name, {row, value, quality});
            return row;
          }),
        ),
      ),
    );
    if (!live.points.length) put(this.points, h("p", {class: "muted"}, t("values.no_profile")));
    const inputs = Object.keys(live.inputs).map((name) => ({name: `input ${name}`, title: inputTitle(name)}));
    put(
      this.signals,
      SEVERITIES.map((severity) => [severity, live.signals.filter((one) => one.severity === severity)])
        .concat([["inputs", inputs]])
        .filter(([, all]) => all.length)
        .map(([severity, all]) =>
          section(
            t(`signals.${severity}`),
            all.map((signal) => {
              const state = h("td", {class: "active"});
              const said = severity === "inputs" ? h("small", {class: "muted"}) : null;
              const row = h("tr", {data: {severity}}, h("th", {scope: "row"}, titled(signal.title), said), state);
              this.#signals.set(signal.name, {row, state, said});
              return row;
            }),
          ),
        ),
    );
  }

  #sift() {
    let some = false;
    for (const {row} of this.#signals.values()) {
      row.hidden = this.filter.checked && row.dataset.active !== "yes";
      some ||= !row.hidden;
    }
    for (const group of this.signals.children) group.hidden = ![...group.querySelectorAll("tr")].some((row) => !row.hidden);
    this.none.hidden = some || !this.#signals.size;
  }
}

const section = (title, rows) => h("section", {class: "group card"}, h("table", {}, h("caption", {}, title), h("tbody", {}, rows)));

function showPoint({row, value, quality}, point) {
  const shown = (one) => (one.word !== null ? titled(one.word) : `${number(one.value, 3)}${point.unit ? `\u00a0${point.unit}` : ""}`);
  say(
    value,
    point.readings.length
      ? point.readings.map(shown).join(t("values.or"))
      : point.word !== null
        ? titled(point.word)
        : point.value === null
          ? "–"
          : `${number(point.value, 3)}${point.unit ? `\u00a0${point.unit}` : ""}`,
  );
  if (row.dataset.quality === point.quality) return;
  row.dataset.quality = point.quality;
  put(
    quality,
    point.quality === "good" ? null : h("span", {class: "tag"}, icon(point.quality === "stale" ? "wait" : "unknown"), t(`quality.${point.quality}`)),
  );
}

function showSignal({row, state}, signal, old) {
  const active = signal.active === null ? "unknown" : signal.active ? "yes" : "no";
  mark(row, "data-old", old ? "" : null);
  if (row.dataset.active === active) return;
  row.dataset.active = active;
  put(state, active === "yes" ? icon(["shutdown", "alarm", "warning"].includes(signal.severity) ? signal.severity : "ok") : null, t(`signal.${active}`));
}
