// Alarms of all devices: the open ones, or all there ever were. The daemon filters and sorts: it has all of them.

import * as api from "../api.js";
import {AlarmList} from "../alarmlist.js";
import {number, when} from "../format.js";
import {h, icon, put, throttled} from "../dom.js";
import {t} from "../i18n.js";
import {amend} from "../route.js";
import {why} from "../why.js";

const A_PAGE = 150; // a thousand elements would be slow to lay out, and nobody reads them
const MOST_AT_ONCE = 1000; // that the daemon gives
const REST_MS = 2000; // between two fetches that nobody has asked for
const LONGEST_REST_MS = 60_000;
const LONGEST_FETCH_MS = 30_000;
const TYPING_MS = 300;
const LONGEST_Q = 100;
const SEVERITIES = ["shutdown", "alarm", "warning"];
const ACKNOWLEDGED = {no: false, yes: true};

export function alarmsPage({main, fleet, route}) {
  document.title = `${t("nav.alarms")} · cmmd`;
  const asked = {};
  const read = ({query}) => ({
    show: query.get("show") === "all" ? "all" : "open",
    severity: SEVERITIES.includes(query.get("severity")) ? query.get("severity") : "",
    seen: query.get("seen") in ACKNOWLEDGED ? query.get("seen") : "",
    q: (query.get("q") ?? "").slice(0, LONGEST_Q),
  });
  Object.assign(asked, read(route));

  let state = "loading"; // until what is asked for has come; "failed": the last attempt; "loaded"
  let alarms = [];
  let total = null;
  let next = null;
  let pages = 1;
  let fetchedAt = 0;
  let failure = null;
  let failures = 0;
  let running = null;
  let again = false;
  let timer = 0;
  let restUntil = 0;
  const acknowledged = new Map();

  const note = h("p", {class: "muted", role: "status"});
  const list = new AlarmList({
    nameOf: (alarm) => nameOf(alarm.hostid),
    rowOf: (alarm) => fleet.rows.get(alarm.hostid),
    done: (now) => {
      acknowledged.set(now.number, now);
      alarms = alarms.map(newest);
      draw();
    },
    unknown: () => soon(),
  });
  const more = h(
    "button",
    {
      hidden: true,
      on: {
        click: () => {
          pages++;
          afresh();
        },
      },
    },
    t("list.more"),
  );
  const retry = h("button", {class: "small", on: {click: () => afresh()}}, t("try.again"));
  const show = h(
    "div",
    {class: "segments", role: "group", "aria-label": t("alarms.show")},
    ["open", "all"].map((name) => h("button", {data: {name}, on: {click: () => ask({show: name})}}, t(`alarms.${name}`))),
  );
  const severity = select("severity", [["", t("alarms.any")], ...SEVERITIES.map((one) => [one, t(`severity.${one}`)])]);
  const seen = select("seen", [
    ["", t("alarms.any")],
    ["no", t("alarms.seen.no")],
    ["yes", t("alarms.seen.yes")],
  ]);
  const search = h("input", {type: "search", id: "alarm-q", autocomplete: "off", spellcheck: "false", maxlength: LONGEST_Q});
  const typed = throttled(TYPING_MS, () => ask({q: search.value}));
  search.addEventListener("input", typed);
  put(
    main,
    h("h1", {}, t("nav.alarms")),
    h(
      "div",
      {class: "filters", role: "search", "aria-label": t("fleet.filters")},
      show,
      h("div", {class: "field"}, h("label", {for: "severity"}, t("alarms.severity")), severity),
      h("div", {class: "field"}, h("label", {for: "seen"}, t("alarms.seen")), seen),
      h("div", {class: "field grow"}, h("label", {for: "alarm-q"}, t("fleet.search")), search),
    ),
    note,
    list.element,
    more,
  );

  const nameOf = (hostid) => fleet.rows.get(hostid)?.hostname || hostid;

  /** An answer may be older than what somebody has acknowledged here meanwhile. */
  const newest = (one) => (one.acknowledged_at === null && one.cleared_at === null && acknowledged.get(one.number)) || one;

  function select(name, choices) {
    const element = h(
      "select",
      {id: name},
      choices.map(([value, text]) => h("option", {value}, text)),
    );
    element.addEventListener("change", () => ask({[name]: element.value}));
    return element;
  }

  function ask(wanted) {
    const changes = {q: search.value, ...wanted}; // also what was typed a moment ago
    if (Object.entries(changes).every(([name, value]) => asked[name] === value)) return;
    // What is there and fits stays in sight until the answer comes.
    const kept = (changes.show ?? asked.show) === asked.show;
    Object.assign(asked, changes);
    amend(["alarms"], {show: asked.show === "all" ? "all" : "", severity: asked.severity, seen: asked.seen, q: asked.q});
    settle();
    alarms = kept ? alarms.filter(fits) : [];
    [total, next, pages, state] = [null, null, 1, "loading"];
    draw();
    afresh();
  }

  function settle() {
    for (const button of show.children) button.setAttribute("aria-pressed", String(button.dataset.name === asked.show));
    severity.value = asked.severity;
    seen.value = asked.seen;
    if (search.value !== asked.q) search.value = asked.q;
  }

  function fits(one) {
    const text = `${nameOf(one.hostid)}\n${one.hostid}\n${one.title}\n${one.signal}`.toLowerCase();
    return (
      (!asked.severity || one.severity === asked.severity) &&
      (!asked.seen || ACKNOWLEDGED[asked.seen] === (one.acknowledged_at !== null)) &&
      asked.q
        .toLowerCase()
        .split(/\s+/)
        .every((word) => text.includes(word))
    );
  }

  // --- fetching ----------------------------------------------------------------------------------------------------

  /** What somebody asks for is fetched at once, whatever is under way. */
  function afresh() {
    running?.abort();
    fetch();
  }

  /** What has happened waits for what is under way, and for a rest: where much happens, answers come all the same. */
  function soon() {
    if (running) again = true;
    else timer ||= setTimeout(fetch, Math.max(0, restUntil - Date.now()));
  }

  async function fetch() {
    clearTimeout(timer);
    timer = 0;
    again = false;
    const mine = new AbortController();
    running = mine;
    const began = Date.now();
    const overdue = setTimeout(() => mine.abort(), LONGEST_FETCH_MS);
    let rest = REST_MS;
    try {
      const found = await load(mine.signal);
      if (running !== mine) return;
      ({alarms, total, next} = found);
      [state, failure, failures, fetchedAt] = ["loaded", null, 0, Date.now()];
      rest = Math.max(rest, (fetchedAt - began) * (asked.show === "all" ? 4 : 1));
    } catch (error) {
      if (running !== mine) return;
      if (!(error instanceof api.Refused || error instanceof api.NoAnswer || error.name === "AbortError")) throw error;
      [state, failure] = ["failed", error];
      rest = Math.min(rest * 2 ** failures++, LONGEST_REST_MS);
    } finally {
      clearTimeout(overdue);
      if (running === mine) running = null;
    }
    restUntil = Date.now() + rest;
    draw();
    if (again || state === "failed") soon();
  }

  async function load(signal) {
    const open = asked.show === "open";
    const found = new Map();
    const wanted = A_PAGE * pages;
    let page = null;
    for (let turn = 0; turn < pages && found.size < wanted && page?.next !== null; turn++) {
      page = await api.alarms(
        {
          open,
          severity: asked.severity,
          acknowledged: ACKNOWLEDGED[asked.seen],
          q: asked.q.trim(),
          sort: open ? "urgency" : null,
          limit: Math.min(MOST_AT_ONCE, wanted - found.size),
          after: page?.next,
        },
        signal,
      );
      for (const one of page.alarms) found.set(one.number, newest(one));
    }
    return {alarms: [...found.values()], total: page.total, next: page.next};
  }

  // --- showing -----------------------------------------------------------------------------------------------------

  function draw() {
    list.show(alarms, fleet.now(), null);
    more.hidden = next === null;
    const [name, text] = state === "loading" ? [null, t("list.loading")] : state === "failed" ? ["warning", failed()] : counted();
    const told = `${name} ${text}`;
    if (note.told === told) return;
    note.told = told;
    put(note, name && icon(name), text, state === "failed" ? [" ", retry] : null);
  }

  function failed() {
    const text = failure instanceof api.Refused ? t("error.refused", {why: why(failure)}) : t("error.no_answer");
    return alarms.length && fetchedAt ? `${text} ${t("alarms.old", {time: when(fetchedAt)})}` : text;
  }

  function counted() {
    const open = asked.show === "open";
    const filtered = asked.severity || asked.seen || asked.q.trim();
    const n = number(alarms.length);
    if (alarms.length) {
      if (!open) return [null, next === null ? t("alarms.count", {n}) : t("alarms.count_newest", {n})];
      const count = t(filtered ? "alarms.count_fit" : "alarms.count_open", {n: number(Math.max(total, alarms.length))});
      return [null, next === null ? count : `${count} · ${t("alarms.count_shown", {n})}`];
    }
    if (next !== null) return [null, t("alarms.none_so_far")];
    if (!filtered) return ["ok", t(open ? "alarms.none_open" : "alarms.none")];
    const of = open && fleet.complete ? fleet.openAlarms : 0;
    return [null, of ? t("alarms.none_fit_of", {n: number(of)}) : t("alarms.none_fit")];
  }

  const listening = new AbortController();
  const {signal} = listening;
  fleet.addEventListener("all", soon, {signal});
  fleet.addEventListener("event", ({detail}) => detail.kind.startsWith("alarm_") && soon(), {signal});
  fleet.addEventListener("link", () => fleet.linked && state === "failed" && afresh(), {signal});
  const ticking = setInterval(draw, 1000);
  settle();
  draw();
  fetch();
  fleet.follow();
  return {
    follow: (now) => ask(read(now)),
    close() {
      listening.abort();
      running?.abort();
      running = null;
      typed.cancel();
      clearTimeout(timer);
      clearInterval(ticking);
    },
  };
}
