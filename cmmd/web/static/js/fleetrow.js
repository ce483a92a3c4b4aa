// One device in a row of the fleet: its elements, and what stands in them.

import {ago, fixed, moment, number} from "./format.js";
import {h, icon, mark, put, say} from "./dom.js";
import {t, titled} from "./i18n.js";
import {lockMark} from "./lock.js";
import {address} from "./route.js";
import {cell} from "./rows.js";

/** Whether a value is not known. */
export const nothing = (value) => value === null || value === undefined;

function bar() {
  const filled = h("span", {class: "fill"});
  return {box: h("span", {class: "bar", "aria-hidden": "true"}, filled), filled};
}

/** What a value is, where there is no head above it: on narrow screens. */
const caption = (name) => h("span", {class: "caption", "aria-hidden": "true"}, t(`column.${name}`));

/** The elements of a row, to be filled. */
export function makeRow() {
  const parts = {
    state: h("span", {class: "state"}),
    link: h("a", {}),
    lock: h("span", {}),
    sub: h("span", {class: "sub"}),
    mode: h("span", {class: "mode"}),
    power: h("span", {class: "num"}),
    load: bar(),
    fuelText: h("span", {class: "num"}),
    fuel: bar(),
    mains: h("span", {}),
    alarms: h("span", {}),
    seen: h("time", {}),
    engine: h("span", {}),
    model: h("span", {}),
    hostid: h("span", {class: "mono"}),
  };
  const element = h(
    "div",
    {role: "row", class: "row"},
    cell("state", parts.state),
    cell("name", h("span", {class: "named"}, parts.link, parts.lock), parts.sub),
    cell("mode", parts.mode),
    cell("load", h("span", {class: "pair"}, caption("load"), parts.power), parts.load.box),
    cell("fuel", h("span", {class: "pair"}, caption("fuel"), parts.fuelText), parts.fuel.box),
    cell("mains", h("span", {class: "caption"}, icon("mains")), parts.mains),
    cell("alarms", parts.alarms),
    cell("seen", parts.seen),
    cell("engine", parts.engine),
    cell("model", parts.model),
    cell("hostid", parts.hostid),
  );
  element.parts = parts;
  return element;
}

/** Write what has changed of a device into its row. */
export function fillRow(element, row, fleet) {
  const {parts} = element;
  say(parts.seen, ago(row.at, fleet.now()));
  if (element.row === row) return;
  const before = element.row;
  element.row = row;
  const old = row.stale || !row.online;
  mark(element, "data-state", row.state);
  mark(element, "data-old", old ? "" : null);
  if (!before || before.state !== row.state || before.severity !== row.severity) put(parts.state, stateIcon(row), h("span", {}, t(`state.${row.state}`)));
  if (!before || before.hostid !== row.hostid || before.hostname !== row.hostname) {
    parts.link.href = address(["devices", row.hostid]);
    say(parts.link, row.hostname || row.hostid);
    say(parts.hostid, row.hostid);
  }
  if (!before || before.locked_by !== row.locked_by || before.lock_reason !== row.lock_reason) put(parts.lock, lockMark(row));
  say(parts.sub, row.locked_by ? t("lock.short", {by: row.locked_by, reason: row.lock_reason}) : row.moduletype);
  say(parts.model, row.moduletype);
  say(parts.mode, row.mode ? t(`mode.${row.mode}`) : "–");
  mark(parts.mode, "data-mode", row.mode);
  say(
    parts.power,
    nothing(row.power)
      ? nothing(row.load)
        ? "–"
        : `${number(row.load, 0)} %`
      : nothing(row.load)
        ? `${fixed(row.power, 0)} kW`
        : `${fixed(row.power, 0)} kW · ${number(row.load, 0)} %`,
  );
  fillBar(parts.load, row.load, row.load > 100 ? "high" : "");
  say(parts.fuelText, nothing(row.fuel) ? "–" : `${number(row.fuel, 0)} %`);
  fillBar(parts.fuel, row.fuel, row.fuel < 25 ? "low" : "");
  if (!before || before.mains !== row.mains) {
    put(parts.mains, row.mains === null ? "–" : [icon(row.mains ? "ok" : "no"), h("span", {}, t(row.mains ? "mains.normal" : "mains.failed"))]);
    mark(parts.mains, "class", `mains m-${row.mains}`);
  }
  if (!before || before.alarms !== row.alarms || before.severity !== row.severity) {
    put(
      parts.alarms,
      row.alarms
        ? [icon(row.severity), h("span", {}, row.alarms, h("span", {class: "word"}, ` ${t(`severity.${row.severity}`)}`))]
        : h("span", {class: "none"}, "–"),
    );
    mark(parts.alarms, "class", `alarms-of v-${row.severity ?? "none"}`);
  }
  mark(parts.seen, "datetime", row.at === null ? null : new Date(row.at).toISOString());
  mark(parts.seen, "title", row.at === null ? null : moment(row.at));
  say(parts.engine, row.engine_state ? titled(row.engine_state) : "–");
}

/** The icon of a state; an alarm shows how bad it is. */
export function stateIcon(row) {
  return icon(row.state === "alarm" && row.severity === "shutdown" ? "shutdown" : row.state);
}

function fillBar({box, filled}, value, kind) {
  const known = !nothing(value);
  mark(box, "data-kind", known ? kind : "unknown");
  filled.style.width = known ? `${Math.max(0, Math.min(100, value))}%` : "0";
}
