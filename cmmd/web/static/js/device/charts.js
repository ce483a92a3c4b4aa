// Charts of any points over any time: one below the other for each unit; lowest to highest as a band, the mean as a line.

import * as api from "../api.js";
import {moment, number} from "../format.js";
import {h, icon, mark, put, say, throttled} from "../dom.js";
import {language, t, titled} from "../i18n.js";
import {address} from "../route.js";
import {why} from "../why.js";
import {figure} from "./figure.js";
import {grouped} from "./values.js";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const RANGES = {hour: HOUR, day: 24 * HOUR, week: 168 * HOUR};
const MOST_POINTS = 8;
const FIRST = ["load", "generator_frequency", "generator_voltage_l1_n", "mains_voltage_l1_n"];
const AGAIN_MS = 20_000;

let library = null;

/**
 * Plotly, when it is first needed: 1.4 MB are not for whoever only looks at a list.
 *
 * It would write style elements into the page, which the page's policy refuses, loudly. What it needs of them is in
 * our style sheet: an element with the class "no-inline-styles" tells it so, and the map library that it brings along
 * gets elements that do nothing.
 */
function loadLibrary() {
  library ??= new Promise((resolve, reject) => {
    if (!document.getElementById("plotly.js-style-global")) document.head.append(h("meta", {id: "plotly.js-style-global", class: "no-inline-styles"}));
    const script = document.createElement("script");
    script.src = document.querySelector('meta[name="cmmd-charts"]').getAttribute("content");
    document.createElement = (tag, ...more) => Document.prototype.createElement.call(document, tag === "style" ? "template" : tag, ...more);
    script.onload = () => {
      delete document.createElement;
      window.Plotly.register({
        moduleType: "locale",
        name: "zh-CN",
        dictionary: {},
        format: {
          days: ["星期日", "星期一", "星期二", "星期三", "星期四", "星期五", "星期六"],
          shortDays: ["周日", "周一", "周二", "周三", "周四", "周五", "周六"],
          months: Array.from({length: 12}, (_, place) => `${place + 1}月`),
          shortMonths: Array.from({length: 12}, (_, place) => `${place + 1}月`),
          date: "%Y-%m-%d",
          year: "%Y年",
          month: "%Y年%-m月",
          dayMonth: "%-m月%-d日",
          dayMonthYear: "%Y年%-m月%-d日",
        },
      });
      resolve(window.Plotly);
    };
    script.onerror = () => {
      delete document.createElement;
      library = null;
      script.remove();
      reject(new api.NoAnswer("charts"));
    };
    document.head.append(script);
  });
  return library;
}

export class Charts {
  #hostid;
  #points = [];
  #chosen = null;
  #range = "day";
  #from = null;
  #until = null;
  #abort = null;
  #drawn = null;
  #interval = null;
  #timer = null;
  #listening = new AbortController();

  constructor(hostid, route) {
    this.#hostid = hostid;
    this.asked = route.query.get("range") ?? route.query.get("from");
    this.follow(route);
    this.plot = h("div", {class: "plot", "aria-hidden": "true"});
    this.note = h("p", {class: "muted", role: "status"});
    this.table = h("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": t("charts.table")});
    this.shown = h("details", {class: "as-table", on: {toggle: () => this.#drawTable()}}, h("summary", {}, t("charts.table")), this.table);
    this.ranges = h("div", {class: "segments", role: "group", "aria-label": t("charts.range")});
    this.custom = h("form", {class: "custom", hidden: true, on: {submit: (event) => this.#asked(event)}});
    this.chooser = h(
      "details",
      {class: "chooser"},
      h("summary", {}, t("charts.points")),
      h("div", {class: "boxes"}, (this.taken = h("p", {"aria-live": "polite", class: "taken"})), (this.boxes = h("div", {class: "box-groups"}))),
    );
    this.file = h("a", {class: "button small", download: ""}, t("charts.csv"));
    this.element = h(
      "div",
      {class: "charts"},
      h("div", {class: "chart-bar"}, this.ranges, this.custom, this.chooser, this.file),
      this.note,
      this.plot,
      this.shown,
    );
    for (const range of [...Object.keys(RANGES), "custom"]) {
      this.ranges.append(
        h("button", {"aria-pressed": String(range === this.#range), data: {range}, on: {click: () => this.#choose(range)}}, t(`charts.${range}`)),
      );
    }
    const {signal} = this.#listening;
    const redraw = throttled(300, () => this.#draw());
    addEventListener("resize", redraw, {signal});
    addEventListener("cmmd-theme", redraw, {signal});
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw, {signal});
  }

  /** The address says what is shown. */
  follow({query}) {
    const points = query.get("points");
    if (points) this.#chosen = points.split(",").slice(0, MOST_POINTS);
    if (query.get("range") in RANGES) this.#range = query.get("range");
    if (query.get("from") && query.get("until")) {
      this.#range = "custom";
      this.#from = Number(query.get("from"));
      this.#until = Number(query.get("until"));
    }
  }

  close() {
    this.#listening.abort();
    this.hide();
    if (window.Plotly && this.plot.data) window.Plotly.purge(this.plot);
  }

  hide() {
    clearInterval(this.#timer);
    this.#timer = null;
    this.#abort?.abort();
  }

  /**
   * Charts are looked at: fetch, and fetch again. `since`: when the device was registered; before there is nothing.
   * `interval`: seconds between its kept readings, where it has its own.
   */
  open(live, since, interval) {
    this.#interval = interval === null ? null : 1000 * interval;
    if (!this.asked && Date.now() - since < 6 * HOUR) this.#range = "hour";
    this.asked = true;
    this.#press();
    if (!this.#points.length) this.#offer(live);
    this.fetch();
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#range !== "custom" && !document.hidden && this.fetch(), AGAIN_MS);
  }

  #offer(live) {
    this.#points = live.points.filter((one) => one.word === null);
    const names = new Set(this.#points.map((one) => one.name));
    this.#chosen = (this.#chosen ?? FIRST).filter((name) => names.has(name));
    if (!this.#chosen.length) this.#chosen = this.#points.slice(0, 2).map((one) => one.name);
    put(
      this.boxes,
      grouped(this.#points).map(([group, points]) =>
        h(
          "fieldset",
          {},
          h("legend", {}, t(`group.${group}`)),
          points.map((point) => {
            const box = h("input", {type: "checkbox", checked: this.#chosen.includes(point.name), value: point.name, on: {change: () => this.#pick(box)}});
            return h("label", {class: "check"}, box, titled(point.title), point.unit ? h("span", {class: "muted"}, ` ${point.unit}`) : null);
          }),
        ),
      ),
    );
    this.#count();
  }

  /** Where as many are chosen as there may be, the others cannot be, and it is said why. */
  #count() {
    const full = this.#chosen.length >= MOST_POINTS;
    say(this.taken, `${t("charts.taken", {n: this.#chosen.length, most: MOST_POINTS})}${full ? ` ${t("charts.full")}` : ""}`);
    mark(this.taken, "data-full", full);
    for (const box of this.boxes.querySelectorAll("input")) box.disabled = full && !box.checked;
  }

  #pick(box) {
    this.#chosen = this.#points.map((one) => one.name).filter((name) => (name === box.value ? box.checked : this.#chosen.includes(name)));
    this.#count();
    this.#remember();
    this.fetch();
  }

  #choose(range) {
    const span = this.#span();
    this.#range = range;
    this.#press();
    this.custom.hidden = range !== "custom";
    if (range === "custom") {
      [this.#from, this.#until] = span;
      this.#customForm();
    }
    this.#remember();
    this.fetch();
  }

  #press() {
    for (const button of this.ranges.children) button.setAttribute("aria-pressed", String(button.dataset.range === this.#range));
  }

  #customForm() {
    // The fields have whole minutes: the end goes up, so that the newest readings stay in sight.
    this.#from = Math.floor(this.#from / MINUTE) * MINUTE;
    this.#until = Math.ceil(this.#until / MINUTE) * MINUTE;
    const local = (ms) => new Date(ms - new Date(ms).getTimezoneOffset() * MINUTE).toISOString().slice(0, 16);
    put(
      this.custom,
      h("label", {}, t("charts.from"), " ", h("input", {type: "datetime-local", name: "from", value: local(this.#from), required: true})),
      h("label", {}, t("charts.until"), " ", h("input", {type: "datetime-local", name: "until", value: local(this.#until), required: true})),
      h("button", {type: "submit", class: "small"}, t("charts.show")),
    );
  }

  #asked(event) {
    event.preventDefault();
    const {from, until} = this.custom.elements;
    const [a, b] = [new Date(from.value).getTime(), new Date(until.value).getTime()];
    if (!(a < b)) return put(this.note, icon("warning"), t("charts.wrong_range"));
    [this.#from, this.#until] = [a, b];
    this.#remember();
    this.fetch();
  }

  #remember() {
    const query = {
      points: this.#chosen.join(","),
      range: this.#range === "custom" ? "" : this.#range,
      from: this.#range === "custom" ? String(this.#from) : "",
      until: this.#range === "custom" ? String(this.#until) : "",
    };
    history.replaceState(null, "", address(["devices", this.#hostid, "charts"], query));
  }

  #span() {
    if (this.#range === "custom") {
      if (this.custom.hidden) {
        this.custom.hidden = false;
        this.#customForm();
      }
      return [this.#from, this.#until];
    }
    const until = Date.now();
    return [until - RANGES[this.#range], until];
  }

  async fetch() {
    this.#abort?.abort();
    this.#abort = new AbortController();
    const {signal} = this.#abort;
    if (!this.#chosen?.length) return put(this.note, t("charts.choose"));
    const [since, until] = this.#span();
    const wanted = Math.max(60, Math.min(600, Math.round((this.plot.clientWidth || 800) / 2)));
    this.file.href = api.readingsFile(this.#hostid, {points: this.#chosen.join(","), since: Math.round(since), until: Math.round(until)});
    if (!this.#drawn) put(this.note, t("list.loading"));
    try {
      const [answer] = await Promise.all([
        api.buckets(this.#hostid, {points: this.#chosen.join(","), since: Math.round(since), until: Math.round(until), buckets: wanted}, signal),
        loadLibrary(),
      ]);
      this.#drawn = answer;
      await this.#draw();
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof api.Refused || error instanceof api.NoAnswer)) throw error;
      put(this.note, icon("warning"), error instanceof api.Refused ? t("error.refused", {why: why(error)}) : t("error.no_answer"));
    }
  }

  async #draw() {
    const {Plotly} = window;
    if (!this.#drawn || !Plotly || !this.plot.isConnected || !this.plot.clientWidth) return;
    const answer = this.#drawn;
    const count = answer.counts.reduce((sum, one) => sum + one, 0);
    put(
      this.note,
      count ? t("charts.readings", {n: number(count)}) : t("charts.none"),
      answer.complete ? null : [" ", icon("warning"), t("charts.incomplete", {time: moment(answer.covered_until)})],
    );
    const titles = new Map(this.#points.map((one) => [one.name, titled(one.title)]));
    const {data, layout} = figure(answer, titles, this.plot, this.#interval);
    await Plotly.react(this.plot, data, layout, {
      responsive: true,
      displaylogo: false,
      displayModeBar: false,
      scrollZoom: false,
      locale: language() === "zh" ? "zh-CN" : "en",
    });
    this.#drawTable();
  }

  #drawTable() {
    if (!this.shown.open || !this.#drawn) return;
    const {since, width, counts, series} = this.#drawn;
    const rows = counts
      .flatMap((count, place) => (count ? [place] : []))
      .slice(-200)
      .reverse();
    const titles = new Map(this.#points.map((one) => [one.name, titled(one.title)]));
    put(
      this.table,
      h(
        "table",
        {class: "list"},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", {scope: "col"}, t("list.at")),
            series.map((one) => h("th", {scope: "col"}, `${titles.get(one.name) ?? one.name}${one.unit ? ` (${one.unit})` : ""}`)),
          ),
        ),
        h(
          "tbody",
          {},
          rows.map((place) =>
            h(
              "tr",
              {},
              h("td", {class: "time"}, moment(since + place * width)),
              series.map((one) =>
                h(
                  "td",
                  {class: "num"},
                  one.mean[place] === null
                    ? "–"
                    : one.min[place] === one.max[place]
                      ? number(one.mean[place], 2)
                      : `${number(one.mean[place], 2)} (${number(one.min[place], 2)} … ${number(one.max[place], 2)})`,
                ),
              ),
            ),
          ),
        ),
      ),
    );
  }
}
