// The fleet: every device in a row, live; counts, search, filters and sorting.

import {number} from "../format.js";
import {h, icon, mark, put, say, throttled} from "../dom.js";
import {STATES} from "../fleet.js";
import {fillRow, makeRow, nothing} from "../fleetrow.js";
import {t} from "../i18n.js";
import {amend} from "../route.js";
import {Rows} from "../rows.js";

const COLUMNS = ["state", "name", "mode", "load", "fuel", "mains", "alarms", "seen", "engine", "model", "hostid"];
const MODES = ["auto", "manual", "test", "stop"];
const SORT_MS = 1000;
const HOLD_MS = 4000; // rows that jump under the pointer help nobody, as long as somebody moves it
const STATE_PLACE = Object.fromEntries(STATES.map((state, place) => [state, place]));
const SEVERITY_PLACE = {shutdown: 0, alarm: 1, warning: 2};

const worst = (row) => (row.severity ? SEVERITY_PLACE[row.severity] : 3);
const KEYS = {
  state: (row) => STATE_PLACE[row.state] * 4 + worst(row),
  mode: (row) => (row.mode ? MODES.indexOf(row.mode) : null),
  load: (row) => row.load ?? null,
  fuel: (row) => row.fuel,
  mains: (row) => (nothing(row.mains) ? null : Number(row.mains)),
  alarms: (row) => (row.alarms ? worst(row) * 1e6 - row.alarms : null),
  seen: (row) => (row.at === null ? null : -row.at),
};
const TEXTS = {name: (row) => row.hostname || row.hostid, engine: (row) => row.engine_state, model: (row) => row.moduletype, hostid: (row) => row.hostid};

export function fleetPage({main, fleet, route}) {
  document.title = `${t("fleet.title")} · cmmd`;
  const asked = {q: "", state: "", mode: "", only: "", sort: "state"};
  const read = ({query}) => {
    for (const name of Object.keys(asked)) asked[name] = query.get(name) ?? (name === "sort" ? "state" : "");
  };
  read(route);

  const shown = h("p", {class: "shown muted", role: "status"});
  const counts = h("div", {class: "counts", role: "group", "aria-label": t("fleet.counts")});
  const tiles = new Map();
  for (const state of ["", ...STATES]) {
    const value = h("strong", {}, "–");
    const button = h(
      "button",
      {class: `count s-${state || "all"}`, on: {click: () => ask({state: asked.state === state ? "" : state})}},
      state ? icon(state) : null,
      value,
      h("span", {}, t(state ? `state.${state}` : "fleet.all")),
    );
    tiles.set(state, {button, value});
    counts.append(button);
  }

  const search = h("input", {type: "search", id: "q", placeholder: t("fleet.search.hint"), spellcheck: "false", autocomplete: "off"});
  search.addEventListener(
    "input",
    throttled(120, () => ask({q: search.value})),
  );
  const mode = select("mode", [["", t("fleet.any_mode")], ...MODES.map((name) => [name, t(`mode.${name}`)])], (value) => ask({mode: value}));
  const only = select(
    "only",
    [
      ["", t("fleet.only.all")],
      ["alarms", t("fleet.only.alarms")],
      ["mains", t("fleet.only.mains")],
      ["fuel", t("fleet.only.fuel")],
      ["load", t("fleet.only.load")],
    ],
    (value) => ask({only: value}),
  );
  const sort = select(
    "sort",
    COLUMNS.flatMap((name) => [
      [name, t(`column.${name}`)],
      [`-${name}`, `${t(`column.${name}`)} ↓`],
    ]),
    (value) => ask({sort: value}),
  );
  const clear = h("button", {class: "small", on: {click: () => ask({q: "", state: "", mode: "", only: ""})}}, t("fleet.clear"));

  const heads = new Map();
  const head = h(
    "div",
    {role: "row", class: "row head", "aria-rowindex": "1"},
    COLUMNS.map((name) => {
      const button = h(
        "button",
        {on: {click: () => ask({sort: asked.sort === name ? `-${name}` : name})}},
        t(`column.${name}`),
        h("span", {class: "arrow", "aria-hidden": "true"}),
      );
      const one = h("div", {role: "columnheader", class: `c-${name}`}, button);
      heads.set(name, one);
      return one;
    }),
  );
  const body = h("div", {role: "rowgroup", class: "rows"});
  const table = h("div", {role: "table", class: "fleet-table", "aria-label": t("fleet.title")}, h("div", {role: "rowgroup", class: "heads"}, head), body);
  const empty = h("p", {class: "empty", hidden: true});
  put(
    main,
    h("h1", {class: "hidden"}, t("fleet.title")),
    counts,
    h(
      "div",
      {class: "filters", role: "search", "aria-label": t("fleet.filters")},
      h("div", {class: "field grow"}, h("label", {for: "q"}, t("fleet.search")), search),
      field("mode", mode),
      field("only", only),
      field("sort", sort, "sort"),
      h("div", {class: "field end"}, clear),
    ),
    shown,
    table,
    empty,
  );

  const rows = new Rows({body, make: makeRow, fill: (element, row) => fillRow(element, row, fleet), key: (row) => row.hostid});
  let nameOrder = new Map();
  let looked = new Map(); // rows, as they were when they were last looked at
  let urgent = false;

  function ask(changes) {
    Object.assign(asked, changes);
    amend([], {...asked, sort: asked.sort === "state" ? "" : asked.sort});
    settle();
  }

  function settle() {
    if (search.value !== asked.q) search.value = asked.q;
    mode.value = asked.mode;
    only.value = asked.only;
    sort.value = asked.sort;
    for (const [state, {button}] of tiles) mark(button, "aria-pressed", String(state === asked.state));
    const by = asked.sort.replace("-", "");
    for (const [name, one] of heads) mark(one, "aria-sort", name === by ? (asked.sort.startsWith("-") ? "descending" : "ascending") : null);
    mark(clear, "disabled", !(asked.q || asked.state || asked.mode || asked.only));
    arrange();
  }

  /** Which rows, in which order. Rows change with each upload; what they are sorted by is looked up once. */
  function arrange() {
    const words = asked.q.toLowerCase().split(/\s+/).filter(Boolean);
    const kept = [];
    for (const row of fleet.rows.values()) if (fits(row, asked, words)) kept.push(row);
    const down = asked.sort.startsWith("-") ? -1 : 1;
    const by = asked.sort.replace("-", "");
    const key = KEYS[by];
    const order = new Map();
    if (key) for (const row of kept) order.set(row, key(row));
    const names = by in TEXTS ? textOrder(fleet, by) : nameOrder;
    kept.sort((a, b) => {
      if (key) {
        const x = order.get(a);
        const y = order.get(b);
        if (x !== y) return nothing(x) ? 1 : nothing(y) ? -1 : (x - y) * down;
        return names.get(a.hostid) - names.get(b.hostid);
      }
      return (names.get(a.hostid) - names.get(b.hostid)) * down;
    });
    mark(table, "aria-rowcount", kept.length + 1);
    rows.set(kept);
    say(
      shown,
      !fleet.complete
        ? t("fleet.coming", {n: number(fleet.rows.size)})
        : kept.length === fleet.rows.size
          ? t("fleet.showing.all", {n: number(kept.length)})
          : t("fleet.showing", {n: number(kept.length), of: number(fleet.rows.size)}),
    );
    empty.hidden = kept.length > 0 || !fleet.complete;
    table.hidden = kept.length === 0;
    say(empty, fleet.rows.size ? t("fleet.none_fit") : t("fleet.no_devices"));
    urgent = false;
  }

  function count() {
    say(tiles.get("").value, number(fleet.rows.size));
    for (const state of STATES) say(tiles.get(state).value, number(fleet.counts[state]));
  }

  function all() {
    nameOrder = textOrder(fleet, "name");
    looked = new Map(fleet.rows);
    count();
    settle();
  }

  const listening = new AbortController();
  const {signal} = listening;
  fleet.addEventListener("all", all, {signal});
  fleet.addEventListener(
    "rows",
    ({detail}) => {
      if (detail.some((row) => !nameOrder.has(row.hostid))) return all();
      // Rows are replaced by newer ones: those on the screen at once, the order within a second.
      newer(rows.items, fleet);
      rows.draw();
      count();
      for (const row of detail) {
        urgent ||= worse(row, looked.get(row.hostid));
        looked.set(row.hostid, row);
      }
      laterArrange();
    },
    {signal},
  );

  // While somebody is about to click, the order stays; but nothing that he has to know waits for that.
  let heldUntil = 0;
  let pointer = "";
  let waiting = 0;
  const hold = ({clientX, clientY}) => {
    const place = `${clientX} ${clientY}`; // browsers tell of moves, too, when the page has moved under the pointer
    if (place !== pointer) heldUntil = Date.now() + HOLD_MS;
    pointer = place;
  };
  for (const kind of ["pointermove", "pointerdown"]) body.addEventListener(kind, hold, {passive: true});
  body.addEventListener("keydown", () => {
    heldUntil = Date.now() + HOLD_MS;
  });
  body.addEventListener("pointerleave", () => {
    heldUntil = 0;
    pointer = "";
  });
  const laterArrange = () => {
    waiting ||= setTimeout(() => {
      waiting = 0;
      if (urgent || heldUntil <= Date.now()) arrange();
      else laterArrange();
    }, SORT_MS);
  };
  const ticking = setInterval(() => rows.draw(), 1000);
  if (fleet.rows.size) all();
  else settle();
  fleet.follow();

  return {
    follow(now) {
      read(now);
      settle();
    },
    close() {
      listening.abort();
      clearInterval(ticking);
      clearTimeout(waiting);
      rows.close();
    },
  };
}

/** Whether a device has a new alarm, or is gone, since it was like that. */
function worse(row, before) {
  if (!before) return true;
  return row.alarms > before.alarms || worst(row) < worst(before) || (row.state !== before.state && ["alarm", "offline"].includes(row.state));
}

function newer(items, fleet) {
  for (let place = 0; place < items.length; place++) items[place] = fleet.rows.get(items[place].hostid) ?? items[place];
}

function textOrder(fleet, name) {
  const compare = new Intl.Collator(undefined, {numeric: true, sensitivity: "base"}).compare;
  const texts = [...fleet.rows.values()].map((row) => [row.hostid, TEXTS[name](row) ?? "\uffff"]);
  texts.sort((a, b) => compare(a[1], b[1]) || (a[0] < b[0] ? -1 : 1));
  return new Map(texts.map(([hostid], place) => [hostid, place]));
}

function fits(row, asked, words) {
  if (asked.state && row.state !== asked.state) return false;
  if (asked.mode && row.mode !== asked.mode) return false;
  if (asked.only === "alarms" && !row.alarms) return false;
  if (asked.only === "mains" && row.mains !== false) return false;
  if (asked.only === "fuel" && !(row.fuel !== null && row.fuel < 25)) return false;
  if (asked.only === "load" && row.generator_closed !== true) return false;
  return words.every((word) => row.key.includes(word));
}

function select(id, choices, choose) {
  const element = h(
    "select",
    {id},
    choices.map(([value, text]) => h("option", {value}, text)),
  );
  element.addEventListener("change", () => choose(element.value));
  return element;
}

function field(id, control, name = "") {
  return h("div", {class: `field ${name}`}, h("label", {for: id}, t(`fleet.${id}`)), control);
}
