// One device: what it does now, what may be asked of it, and what has been.

import * as api from "../api.js";
import {AlarmList, byUrgency} from "../alarmlist.js";
import {Charts} from "../device/charts.js";
import {Control} from "../device/control.js";
import {Diagram} from "../device/diagram.js";
import {Gauges} from "../device/gauges.js";
import {commandList, eventList} from "../device/log.js";
import {Raw} from "../device/raw.js";
import {SettingsForm} from "../device/settings.js";
import {Values} from "../device/values.js";
import {ago, moment} from "../format.js";
import {h, icon, mark, put, say, throttled} from "../dom.js";
import {t, tOr, titled} from "../i18n.js";
import {amend} from "../route.js";
import {Tabs} from "../tabs.js";

const LIVE_MS = 1000;
const SELDOM_MS = 15_000; // where the stream is down, and for a device that is silent

export function devicePage({main, fleet, route}) {
  return new DevicePage(main, fleet, route);
}

class DevicePage {
  #fleet;
  #main;
  #hostid;
  #details = null;
  #live = null;
  #alarms = [];
  #abort = new AbortController();

  constructor(main, fleet, route) {
    this.#main = main;
    this.#fleet = fleet;
    this.#hostid = route.path[1] ?? "";
    document.title = `${this.#hostid} · cmmd`;
    put(main, h("p", {class: "muted", role: "status"}, t("list.loading")));
    this.#parts(route);
    const {signal} = this.#abort;
    this.liveSoon = throttled(LIVE_MS, () => this.#fetchLive());
    this.detailsSoon = throttled(LIVE_MS, () => this.#fetchDetails());
    this.alarmsSoon = throttled(LIVE_MS, () => this.#fetchAlarms());
    fleet.addEventListener("all", () => this.#all(), {signal});
    fleet.addEventListener("rows", ({detail}) => detail.some((row) => row.hostid === this.#hostid) && this.liveSoon(), {signal});
    fleet.addEventListener("event", ({detail}) => detail.hostid === this.#hostid && this.#happened(detail), {signal});
    fleet.addEventListener("command", ({detail}) => {
      if (detail.hostid !== this.#hostid) return;
      this.control.changed(detail);
      if (this.tabs.chosen === "commands") this.commands.soon();
    }, {signal});
    this.ticking = setInterval(() => this.#tick(), 1000);
    this.seldom = setInterval(() => document.hidden || this.liveSoon(), SELDOM_MS);
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
    for (const one of [this.liveSoon, this.detailsSoon, this.alarmsSoon]) one.cancel();
    for (const one of [this.control, this.diagram, this.charts, this.events, this.commands]) one.close();
  }

  // --- what there is to see ----------------------------------------------------------------------------------------

  #parts(route) {
    this.diagram = new Diagram();
    this.gauges = new Gauges();
    this.control = new Control(this.#fleet);
    this.values = new Values();
    this.charts = new Charts(this.#hostid, route);
    this.events = eventList(this.#hostid);
    this.commands = commandList(this.#hostid, this.#fleet, () => this.#details?.commands ?? []);
    this.raw = new Raw();
    this.settings = new SettingsForm(this.control, (details) => {
      this.#details = details;
      this.#show();
      this.liveSoon();
    });
    this.title = h("h1", {});
    this.sub = h("p", {class: "muted"});
    this.facts = h("ul", {class: "chips"});
    this.seen = h("p", {class: "seen"});
    this.alarmList = new AlarmList({done: (now) => {
      this.#alarms = this.#alarms.map((one) => (one.number === now.number ? now : one));
      this.#showAlarms();
    }});
    this.tabs = new Tabs({
      label: t("device.tabs"),
      tabs: [
        ["values", t("tab.values"), this.values.element], ["charts", t("tab.charts"), this.charts.element], ["events", t("tab.events"), this.events.element],
        ["commands", t("tab.commands"), this.commands.element], ["settings", t("tab.settings"), this.settings.element], ["raw", t("tab.raw"), this.raw.element],
      ],
      choose: (name) => this.#chosen(name),
    });
    this.body = [
      h("header", {class: "device-head"}, h("p", {class: "back"}, h("a", {href: "#/"}, `← ${t("nav.fleet")}`)), h("div", {class: "between"}, h("div", {}, this.title, this.sub), this.seen), this.facts),
      h("div", {class: "overview"},
        h("section", {class: "card line", "aria-labelledby": "line-title"}, h("h2", {id: "line-title"}, t("device.line")), this.diagram.element),
        this.control.element,
        h("section", {class: "card alarms", tabindex: "-1", "aria-labelledby": "alarms-title"}, h("h2", {id: "alarms-title"}, t("nav.alarms")), this.alarmList.element),
        h("section", {class: "card gauges-card", "aria-labelledby": "gauges-title"}, h("h2", {id: "gauges-title"}, t("device.gauges")), this.gauges.element)),
      h("h2", {class: "hidden"}, t("device.tabs")), this.tabs.element,
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
    if (name === "raw") this.#fetchLive();
    if (name === "settings" && this.#details) this.settings.show(this.#details);
  }

  // --- fetching ----------------------------------------------------------------------------------------------------

  #all() {
    this.#fetchDetails();
    this.#fetchLive();
    this.#fetchAlarms();
    this.control.catchUp();
    if (this.tabs.chosen === "events") this.events.soon();
    if (this.tabs.chosen === "commands") this.commands.soon();
  }

  async #try(fetch) {
    try {
      await fetch(this.#abort.signal);
    } catch (error) {
      if (error.name === "AbortError" || error instanceof api.NoAnswer) return; // the head says that there is no connection
      if (!(error instanceof api.Refused)) throw error;
      if (error.status === 401) return;
      if (this.#details && error.code !== "unknown_device") return;
      put(this.#main, h("p", {class: "back"}, h("a", {href: "#/"}, `← ${t("nav.fleet")}`)), h("h1", {}, this.#hostid), h("p", {role: "alert"}, icon("warning"), t("error.refused", {why: tOr(`code.${error.code}`, error.message)})));
    }
  }

  #fetchDetails() {
    return this.#try(async (signal) => {
      this.#details = await api.device(this.#hostid, signal);
      this.#show();
    });
  }

  #fetchLive() {
    return this.#try(async (signal) => {
      this.#live = await api.live(this.#hostid, {raw: this.tabs.chosen === "raw", signal});
      this.#show();
    });
  }

  #fetchAlarms() {
    return this.#try(async (signal) => {
      this.#alarms = (await api.alarms({hostid: this.#hostid, limit: 200}, signal)).alarms;
      this.#showAlarms();
    });
  }

  #happened({kind}) {
    if (kind.startsWith("alarm_")) this.alarmsSoon();
    if (["online", "offline", "profile_changed", "device_registered"].includes(kind)) this.detailsSoon();
    this.liveSoon();
    if (this.tabs.chosen === "events") this.events.soon();
  }

  // --- showing -----------------------------------------------------------------------------------------------------

  #show() {
    if (!this.#details || !this.#live) return;
    if (!this.title.isConnected) put(this.#main, this.body);
    const {row} = this.#details;
    const live = this.#live;
    const name = row.hostname || row.hostid;
    document.title = `${name} · cmmd`;
    say(this.title, name);
    say(this.sub, [row.moduletype, row.hostid].filter(Boolean).join(" · "));
    this.#chips(row, live);
    mark(this.#main, "data-old", !live.online || live.stale ? "" : null);
    this.diagram.show(live);
    this.gauges.show(live);
    this.control.show({...this.#details, row: {...row, online: live.online}}, live);
    this.values.show(live);
    if (this.tabs.chosen === null) {
      this.tabs.choose(this.asked);
      if (this.tabs.chosen !== "values") this.tabs.element.scrollIntoView(); // it is what the address asks for
    }
    if (this.tabs.chosen === "raw" && live.raw) this.raw.show(live);
    if (this.tabs.chosen === "settings") this.settings.show(this.#details);
    this.#tick();
  }

  #chips(row, live) {
    const worst = this.#alarms.map((one) => one.severity).sort((a, b) => ["shutdown", "alarm", "warning"].indexOf(a) - ["shutdown", "alarm", "warning"].indexOf(b))[0];
    const state = !live.online ? "offline" : ["shutdown", "alarm"].includes(worst) ? "alarm" : live.engine_turns === null ? "unknown" : live.engine_turns ? "running" : "standby";
    const chip = (kind, ...children) => h("li", {class: `chip ${kind}`}, children);
    const key = JSON.stringify([state, worst, live.mode, live.engine_state, row.enabled, live.inputs, live.stale, live.completeness, live.packet_gaps]);
    if (key === this.chipped) return;
    this.chipped = key;
    put(this.facts, chip(`s-${state}`, icon(state === "alarm" && worst === "shutdown" ? "shutdown" : state), t(`state.${state}`)),
      chip("", h("span", {class: "muted"}, t("column.mode")), " ", h("b", {}, live.mode ? t(`mode.${live.mode}`) : t("mode.unknown"))),
      live.engine_state ? chip("", h("span", {class: "muted"}, t("column.engine")), " ", h("b", {}, titled(live.engine_state))) : null,
      row.enabled ? null : chip("bad", icon("no"), t("device.disabled")),
      live.stale ? chip("old", icon("wait"), t("device.stale")) : null,
      live.inputs.remote_inhibited ? chip("old", icon("no"), t("device.inhibited")) : null,
      live.completeness !== null && live.completeness < 0.9 ? chip("old", icon("unknown"), t("device.completeness", {n: Math.round(live.completeness * 100)})) : null,
      live.packet_gaps ? chip("old", icon("unknown"), t("device.gaps", {n: live.packet_gaps})) : null);
  }

  #showAlarms() {
    this.#show();
  }

  #tick() {
    if (!this.#live) return;
    this.alarmList.show([...this.#alarms].sort(byUrgency), this.#fleet.now());
    const {at} = this.#live;
    say(this.seen, at === null ? t("device.never") : t("device.seen", {ago: ago(at, this.#fleet.now()), time: moment(at)}));
  }
}
