// Alarms of all devices: the open ones, or all there ever were.

import * as api from "../api.js";
import {AlarmList, byUrgency} from "../alarmlist.js";
import {number} from "../format.js";
import {h, icon, put, throttled} from "../dom.js";
import {t} from "../i18n.js";
import {amend} from "../route.js";

const A_PAGE = 200;
const AT_ONCE = 150; // elements; a thousand would be slow to lay out, and nobody reads them
const FETCH_MS = 2000;
const MOST_OPEN = 5000;
const PATIENCE_MS = 10_000; // where there are thousands, they are not fetched with each event
const SEVERITIES = ["shutdown", "alarm", "warning"];

export function alarmsPage({main, fleet, route}) {
  document.title = `${t("nav.alarms")} · cmmd`;
  const asked = {show: "open", severity: "", q: ""};
  const read = ({query}) => {
    asked.show = query.get("show") === "all" ? "all" : "open";
    asked.severity = SEVERITIES.includes(query.get("severity")) ? query.get("severity") : "";
    asked.q = query.get("q") ?? "";
  };
  read(route);
  let alarms = [];
  let next = null;
  let fetchedAt = 0;
  let late = 0;
  let abort = new AbortController();

  const note = h("p", {class: "muted", role: "status"}, t("list.loading"));
  const list = new AlarmList({
    nameOf: (alarm) => nameOf(alarm.hostid),
    done: (now) => {
      alarms = alarms.map((one) => (one.number === now.number ? now : one));
      draw();
    },
  });
  let most = AT_ONCE;
  const more = h("button", {hidden: true, on: {click: () => {
    most += AT_ONCE;
    if (next !== null && most > alarms.length) fetch(next);
    else draw();
  }}}, t("list.more"));
  const show = h("div", {class: "segments", role: "group", "aria-label": t("alarms.show")}, ["open", "all"].map((name) => h("button", {data: {name}, on: {click: () => ask({show: name})}}, t(`alarms.${name}`))));
  const severity = h("select", {id: "severity"}, [["", t("alarms.any")], ...SEVERITIES.map((one) => [one, t(`severity.${one}`)])].map(([value, text]) => h("option", {value}, text)));
  severity.addEventListener("change", () => ask({severity: severity.value}));
  const search = h("input", {type: "search", id: "alarm-q", autocomplete: "off", spellcheck: "false"});
  search.addEventListener("input", throttled(150, () => ask({q: search.value})));
  put(main, h("h1", {}, t("nav.alarms")), h("div", {class: "filters", role: "search", "aria-label": t("fleet.filters")},
    show, h("div", {class: "field"}, h("label", {for: "severity"}, t("alarms.severity")), severity), h("div", {class: "field grow"}, h("label", {for: "alarm-q"}, t("fleet.search")), search)), note, list.element, more);

  const nameOf = (hostid) => fleet.rows.get(hostid)?.hostname || hostid;

  function ask(changes) {
    const again = "show" in changes && changes.show !== asked.show;
    Object.assign(asked, changes);
    amend(["alarms"], {show: asked.show === "all" ? "all" : "", severity: asked.severity, q: asked.q});
    settle();
    most = AT_ONCE;
    if (again) fetch();
    else draw();
  }

  function settle() {
    for (const button of show.children) button.setAttribute("aria-pressed", String(button.dataset.name === asked.show));
    severity.value = asked.severity;
    if (search.value !== asked.q) search.value = asked.q;
  }

  async function fetch(after = null) {
    abort.abort();
    abort = new AbortController();
    try {
      const open = asked.show === "open";
      const {signal} = abort;
      let page = await api.alarms({open, limit: open ? 1000 : A_PAGE, after}, signal);
      let found = page.alarms;
      while (open && page.next !== null && found.length < MOST_OPEN) {
        page = await api.alarms({open, limit: 1000, after: page.next}, signal);
        found = [...found, ...page.alarms];
      }
      alarms = after === null ? found : [...alarms, ...found];
      next = page.next;
      fetchedAt = Date.now();
      draw();
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof api.Refused || error instanceof api.NoAnswer)) throw error;
      put(note, icon("warning"), error instanceof api.Refused ? t("error.refused", {why: error.message}) : t("error.no_answer"));
    }
  }

  function draw() {
    const words = asked.q.toLowerCase().split(/\s+/).filter(Boolean);
    const fitting = alarms.filter((one) => (!asked.severity || one.severity === asked.severity)
      && words.every((word) => `${nameOf(one.hostid)} ${one.hostid} ${one.title} ${one.signal}`.toLowerCase().includes(word)));
    if (asked.show === "open") fitting.sort(byUrgency);
    list.show(fitting.slice(0, most), fleet.now());
    put(note, fitting.length ? t(asked.show === "open" ? "alarms.count_open" : "alarms.count", {n: number(fitting.length)}) : t(asked.show === "open" ? "alarms.none_open" : "alarms.none"));
    more.hidden = fitting.length <= most && next === null;
  }

  const soon = throttled(FETCH_MS, () => {
    if (alarms.length < 1000 || Date.now() - fetchedAt > PATIENCE_MS) fetch();
    else late ||= setTimeout(() => {
      late = 0;
      fetch();
    }, PATIENCE_MS);
  });
  const listening = new AbortController();
  const {signal} = listening;
  fleet.addEventListener("all", () => soon(), {signal});
  fleet.addEventListener("event", ({detail}) => detail.kind.startsWith("alarm_") && soon(), {signal});
  const ticking = setInterval(() => draw(), 1000);
  settle();
  fetch();
  fleet.follow();
  return {
    follow(now) {
      read(now);
      settle();
      fetch();
    },
    close() {
      listening.abort();
      abort.abort();
      soon.cancel();
      clearTimeout(late);
      clearInterval(ticking);
    },
  };
}
