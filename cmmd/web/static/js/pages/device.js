// One device: what it does now, what may be asked of it, and what has been.

import * as api from "../api.js";
import {DeviceAlarms} from "../device/alarms.js";
import {Beside} from "../device/beside.js";
import {Charts} from "../device/charts.js";
import {Chips, toldState} from "../device/chips.js";
import {Control} from "../device/control.js";
import {Diagram} from "../device/diagram.js";
import {Gauges} from "../device/gauges.js";
import {commandList, eventList} from "../device/log.js";
import {Raw} from "../device/raw.js";
import {Repair} from "../device/repair.js";
import {SettingsForm} from "../device/settings.js";
import {Values} from "../device/values.js";
import {ago, moment} from "../format.js";
import {h, icon, mark, put, say, throttled} from "../dom.js";
import {t} from "../i18n.js";
import {inTurn} from "../inturn.js";
import {address, amend} from "../route.js";
import {Tabs} from "../tabs.js";
import {why} from "../why.js";

const LIVE_MS = 1000;
const SELDOM_MS = 5000; // where the stream is down, and for a device that is silent
const UNHEARD_MS = 12_000; // without an answer about its values
const PERIOD_MS = 3000; // between uploads, where nothing else is set
const OLD_PERIODS = 5;
const OLD_MS = [300_000, 60_000]; // at least, by what it uploads: changes only, or everything
const DETAILED = new Set([
  "online",
  "offline",
  "profile_changed",
  "setting_changed",
  "device_registered",
  "device_locked",
  "device_unlocked",
  "session_taken_over",
]);

export function devicePage({main, fleet, route}) {
  return new DevicePage(main, fleet, route);
}

/** A live record as it is shown where its values are too old: none of them is certain any more. */
function aged(live, late) {
  if (!late) return live;
  return {...live, stale: true, points: live.points.map((one) => (one.quality === "good" ? {...one, quality: "stale"} : one))};
}

class DevicePage {
  #fleet;
  #main;
  #hostid;
  #details = null;
  #live = null;
  #row = null; // the device in a row, as it came last
  #asked = 0; // how often /live was
  #answered = 0; // which of these is shown
  #answeredAt = [0, 0]; // when it was asked for, by a clock that only goes on, and by one that a sleep does not stop
  #late = null; // why the values are not to be relied on by their age; undefined: that is not shown everywhere
  #bug = ""; // what went wrong last while this was shown
  #abort = new AbortController();

  constructor(main, fleet, route) {
    this.#main = main;
    this.#fleet = fleet;
    this.#hostid = route.path[1] ?? "";
    document.title = `${this.#hostid} · cmmd`;
    put(main, h("p", {class: "muted", role: "status"}, t("list.loading")));
    this.#parts(route);
    const {signal} = this.#abort;
    this.fetchLive = inTurn(() => this.#fetchLive());
    this.fetchDetails = inTurn(() => this.#fetchDetails());
    this.liveSoon = throttled(LIVE_MS, () => this.fetchLive());
    this.detailsSoon = throttled(LIVE_MS, () => this.fetchDetails());
    fleet.addEventListener("all", () => this.#all(), {signal});
    fleet.addEventListener("rows", ({detail}) => this.#came(detail.findLast((row) => row.hostid === this.#hostid)), {signal});
    fleet.addEventListener("event", ({detail}) => detail.hostid === this.#hostid && this.#happened(detail), {signal});
    fleet.addEventListener(
      "command",
      ({detail}) => {
        if (detail.hostid !== this.#hostid) return;
        this.control.changed(detail);
        if (this.tabs.chosen === "commands") this.commands.soon();
      },
      {signal},
    );
    this.ticking = setInterval(() => this.#tick(), 1000);
    this.seldom = setInterval(() => {
      if (document.hidden) return;
      if (!this.#details) this.detailsSoon();
      this.liveSoon();
    }, SELDOM_MS);
    this.#all();
    fleet.follow(this.#hostid);
  }

  follow(route) {
    this.charts.follow(route);
    this.tabs.choose(route.path[2] ?? "values");
  }

  close() {
    this.#abort.abort();
    clearInterval(this.ticking);
    clearInterval(this.seldom);
    for (const one of [this.liveSoon, this.detailsSoon]) one.cancel();
    for (const one of [this.alarms, this.control, this.diagram, this.charts, this.events, this.commands]) one.close();
  }

  // --- what there is to see ----------------------------------------------------------------------------------------

  #parts(route) {
    this.diagram = new Diagram();
    this.gauges = new Gauges();
    this.beside = new Beside({changed: (details) => this.#took(details), signal: this.#abort.signal});
    this.control = new Control(this.#fleet, () => this.#askLive(), this.beside.lockButton);
    this.values = new Values();
    this.charts = new Charts(this.#hostid, route);
    this.events = eventList(this.#hostid);
    this.commands = commandList(this.#hostid, this.#fleet, () => this.#details?.commands ?? []);
    this.raw = new Raw();
    this.repair = new Repair({
      changed: (details) => this.#took(details),
      gone: () => {
        location.hash = address([]);
      },
      signal: this.#abort.signal,
    });
    this.settings = new SettingsForm(this.control, (details) => this.#took(details), this.repair.element);
    this.title = h("h1", {});
    this.sub = h("p", {class: "muted"});
    this.chips = new Chips();
    this.seen = h("p", {class: "seen"});
    this.alarms = new DeviceAlarms({hostid: this.#hostid, soon_ms: LIVE_MS, changed: () => this.#show(), signal: this.#abort.signal});
    this.tabs = new Tabs({
      label: t("device.tabs"),
      tabs: [
        ["values", t("tab.values"), this.values.element],
        ["charts", t("tab.charts"), this.charts.element],
        ["events", t("tab.events"), this.events.element],
        ["commands", t("tab.commands"), this.commands.element],
        ["settings", t("tab.settings"), this.settings.element],
        ["raw", t("tab.raw"), this.raw.element],
      ],
      choose: (name) => this.#chosen(name),
    });
    this.body = [
      h(
        "header",
        {class: "device-head"},
        h("p", {class: "back"}, h("a", {href: "#/"}, `← ${t("nav.fleet")}`)),
        h("div", {class: "between"}, h("div", {}, this.title, this.sub), this.seen),
        this.chips.element,
      ),
      this.beside.element,
      h(
        "div",
        {class: "overview"},
        h("section", {class: "card line", "aria-labelledby": "line-title"}, h("h2", {id: "line-title"}, t("device.line")), this.diagram.element),
        this.control.element,
        this.alarms.element,
        h("section", {class: "card gauges-card", "aria-labelledby": "gauges-title"}, h("h2", {id: "gauges-title"}, t("device.gauges")), this.gauges.element),
      ),
      h("h2", {class: "hidden"}, t("device.tabs")),
      this.tabs.element,
    ];
    this.asked = route.path[2] ?? "values";
  }

  #chosen(name) {
    const route = location.hash.split("?")[0];
    if (!route.endsWith(`/${name}`) && !(name === "values" && route.split("/").length <= 3)) amend(["devices", this.#hostid, name]);
    if (name === "charts" && this.#live) this.charts.open(this.#live, this.#details.registered_at, this.#details.settings.history_interval);
    else this.charts.hide();
    if (name === "events") this.events.refresh();
    if (name === "commands") this.commands.refresh();
    if (name === "raw") this.fetchLive();
    if (name === "settings" && this.#details) this.settings.show(this.#details);
  }

  // --- fetching ----------------------------------------------------------------------------------------------------

  #all() {
    this.fetchDetails();
    this.fetchLive();
    this.alarms.fetch();
    this.control.catchUp();
    if (this.tabs.chosen === "events") this.events.soon();
    if (this.tabs.chosen === "commands") this.commands.soon();
  }

  async #try(fetch) {
    try {
      await fetch(this.#abort.signal);
    } catch (error) {
      if (error.name === "AbortError" || error instanceof api.NoAnswer) return; // what is shown goes old, and says so
      if (!(error instanceof api.Refused)) throw error;
      if (error.status === 401) return;
      if ((this.#details && error.code !== "unknown_device") || this.refused === error.code) return;
      this.refused = error.code;
      put(
        this.#main,
        h("p", {class: "back"}, h("a", {href: "#/"}, `← ${t("nav.fleet")}`)),
        h("h1", {}, this.#hostid),
        h("p", {role: "alert"}, icon("warning"), t("error.refused", {why: why(error)})),
      );
    }
  }

  #fetchDetails() {
    return this.#try(async (signal) => {
      const details = await api.device(this.#hostid, signal);
      if (!this.#isOurs(details)) throw new api.NoAnswer("the answer is another");
      this.#details = details;
      this.#row = {...this.#row, ...this.#details.row}; // which has no state: only the stream's rows have
      this.#show();
    });
  }

  /** What a change has answered: the device as it is now; null: it is not known whether it was done. */
  #took(details) {
    if (this.#isOurs(details)) {
      this.#details = details;
      this.#show();
    } else {
      this.detailsSoon();
    }
    this.liveSoon();
  }

  #isOurs(details) {
    return details?.row?.hostid === this.#hostid && Boolean(details.settings);
  }

  #fetchLive() {
    return this.#try(() => this.#askLive());
  }

  /** Ask for the values, and show them, where nothing newer is shown by then. */
  async #askLive() {
    const asked = ++this.#asked;
    const at = [performance.now(), Date.now()];
    const live = await api.live(this.#hostid, {raw: this.tabs.chosen === "raw", signal: this.#abort.signal});
    if (live?.hostid !== this.#hostid || !Array.isArray(live.points)) throw new api.NoAnswer("the answer is another");
    if (asked < this.#answered) return;
    this.#answered = asked;
    this.#answeredAt = at;
    this.#live = live;
    this.#show();
    this.#compare(live);
  }

  /** Details are asked for with an event; where one was missed, they say something else about doubt than the live record. */
  #compare({blocked}) {
    const named = this.#details?.row.in_doubt.length > 0;
    const code = blocked?.code ?? null;
    if (named ? [null, "remote_inhibited", "remote_locked"].includes(code) : code === "ambiguous_session") this.detailsSoon();
  }

  /** The device's row has changed. */
  #came(row) {
    if (!row) return;
    this.#row = row;
    this.alarms.compare(row.alarms);
    this.liveSoon();
    this.#show();
  }

  #happened({kind, details}) {
    if (kind.startsWith("alarm_")) this.alarms.soon();
    if (DETAILED.has(kind) || details.signal === "session_taken_over") this.detailsSoon();
    this.liveSoon();
    if (this.tabs.chosen === "events") this.events.soon();
  }

  // --- showing -----------------------------------------------------------------------------------------------------

  #show() {
    if (!this.#details || !this.#live) return;
    if (!this.title.isConnected) put(this.#main, this.body);
    const {row} = this.#details;
    const late = (this.#late = this.#lateness());
    const live = aged(this.#live, late);
    const name = row.hostname || row.hostid;
    document.title = `${name} · cmmd`;
    say(this.title, name);
    say(this.sub, [row.moduletype, row.hostid].filter(Boolean).join(" · "));
    mark(this.#main, "data-old", !live.online || live.stale ? "" : null);
    this.#each(
      () => this.chips.show(row, live, late, toldState(this.#row, this.alarms.worst, live)),
      () => this.beside.show(this.#details, live),
      () => this.repair.show(this.#details),
      () => this.diagram.show(live),
      () => this.gauges.show(live),
      () => this.control.show({...this.#details, row: {...row, online: live.online}}, live),
      () => this.values.show(live),
      () => this.#showTab(live),
    );
    this.#tell();
  }

  /** Show each part: one that cannot be shown keeps none of the others from going old. It is tried again with the next tick. */
  #each(...parts) {
    for (const show of parts) {
      try {
        show();
      } catch (error) {
        this.#late = undefined;
        mark(this.#main, "data-old", "");
        if (String(error) !== this.#bug) console.error(error);
        this.#bug = String(error);
      }
    }
  }

  #showTab(live) {
    if (this.tabs.chosen === null) {
      this.tabs.choose(this.asked);
      if (this.tabs.chosen !== "values") this.tabs.element.scrollIntoView(); // it is what the address asks for
    }
    if (this.tabs.chosen === "raw" && live.raw) this.raw.show(live);
    if (this.tabs.chosen === "settings") this.settings.show(this.#details);
  }

  /** Why the values need not be true any more: "unheard": the daemon does not tell; "old": the device does not. */
  #lateness() {
    const [steady, wall] = this.#answeredAt;
    if (Math.max(performance.now() - steady, Math.abs(Date.now() - wall)) > UNHEARD_MS) return "unheard";
    const {at} = this.#live;
    const {data_mode: mode, online_rate: watched, offline_rate: otherwise} = this.#details.settings;
    const longest = Math.max(OLD_MS[mode ?? 1] ?? OLD_MS[1], OLD_PERIODS * Math.max(watched ?? PERIOD_MS, otherwise ?? PERIOD_MS));
    return at !== null && this.#fleet.now() - at > longest ? "old" : null;
  }

  #tick() {
    if (!this.#live || !this.#details) return;
    if (this.#lateness() !== this.#late) this.#show();
    else this.#tell();
  }

  /** What changes with time alone. */
  #tell() {
    const {at} = this.#live;
    say(this.seen, at === null ? t("device.never") : t("device.seen", {ago: ago(at, this.#fleet.now()), time: moment(at)}));
    this.alarms.show(this.#row?.alarms ?? 0, this.#fleet.now());
  }
}
