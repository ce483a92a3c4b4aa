// Alarms as a list: what, how bad, since when, and whether somebody has seen it.

import * as api from "./api.js";
import {ago, moment} from "./format.js";
import {h, icon, put, say} from "./dom.js";
import {t, titled} from "./i18n.js";
import {lockMark, lockText} from "./lock.js";
import {address} from "./route.js";
import {may} from "./session.js";
import {why} from "./why.js";

const ORDER = {shutdown: 0, alarm: 1, warning: 2};

/** The worst first, then the newest; what nobody has seen before what somebody has. */
export const byUrgency = (a, b) =>
  Number(a.acknowledged_at !== null) - Number(b.acknowledged_at !== null) || ORDER[a.severity] - ORDER[b.severity] || b.raised_at - a.raised_at;

/**
 * A list that keeps its elements as long as their alarms are the same, so that neither the focus nor the eye is lost.
 *
 * `nameOf(alarm)`: what to call its device; null: that is plain. `rowOf(alarm)`: the device in a row, as far as it is
 * known. `done(alarm)`: it was acknowledged; `unknown()`: one may have been.
 */
export class AlarmList {
  #items = new Map();
  #unrecorded = new Set(); // numbers of those whose acknowledgement was answered as not recorded: no later answer says so
  #nameOf;
  #rowOf;
  #done;
  #unknown;

  /** @param {{nameOf?: (alarm: any) => string | null, rowOf?: (alarm: any) => any, done: (alarm: any) => void, unknown: () => void}} calls */
  constructor({nameOf = () => null, rowOf = () => null, done, unknown}) {
    this.#rowOf = rowOf;
    this.#nameOf = nameOf;
    this.#done = done;
    this.#unknown = unknown;
    this.element = h("ul", {class: "alarm-list"});
  }

  /** `nothing`: what to say where there are none; null: somebody else says it. */
  show(alarms, now, nothing = t("alarms.none_open")) {
    const kept = new Map();
    for (const alarm of alarms) {
      const device = this.#nameOf(alarm);
      const key = `${alarm.acknowledged_at} ${alarm.cleared_at} ${this.#unrecorded.has(alarm.number)} ${device} ${lockText(this.#rowOf(alarm) ?? {})}`;
      const before = this.#items.get(alarm.number);
      const item = before?.key === key ? before : {key, ...this.#make(alarm, device)};
      kept.set(alarm.number, item);
      if (alarm.cleared_at === null) say(item.time, ago(alarm.raised_at, now));
    }
    const held = this.element.contains(document.activeElement) ? document.activeElement.closest("li")?.dataset.number : null;
    const wanted = [...kept.values()].map((one) => one.element);
    if (!wanted.length && nothing !== null) wanted.push(h("li", {class: "none"}, icon("ok"), nothing));
    if (wanted.length !== this.element.children.length || wanted.some((one, place) => this.element.children[place] !== one)) {
      const focused = /** @type {HTMLElement} */ (document.activeElement);
      put(this.element, wanted);
      if (held && focused.isConnected) focused.focus({preventScroll: true});
      else if (held) (kept.get(Number(held))?.element.querySelector("a, button") ?? this.element.closest("section, main"))?.focus({preventScroll: true});
    }
    this.#items = kept;
  }

  #make(alarm, device) {
    const told = h("span", {class: "wrong", role: "alert"});
    const open = alarm.cleared_at === null;
    const time = h("time", {datetime: new Date(alarm.raised_at).toISOString(), title: moment(alarm.raised_at)}, moment(alarm.raised_at));
    const button = open && alarm.acknowledged_at === null ? this.#button(alarm, device, told) : null;
    const seen =
      alarm.acknowledged_at === null
        ? null
        : h("span", {class: "tag", title: moment(alarm.acknowledged_at)}, icon("ok"), t("alarm.acknowledged", {by: alarm.acknowledged_by ?? "?"}));
    if (seen && this.#unrecorded.has(alarm.number)) put(told, t("told.not_recorded"));
    const element = h(
      "li",
      {class: `alarm v-${alarm.severity}${open ? "" : " over"}`, data: {number: alarm.number}},
      icon(alarm.severity),
      h(
        "div",
        {class: "what"},
        h("p", {class: "title"}, h("b", {}, titled(alarm.title)), " ", h("span", {class: "severity"}, t(`severity.${alarm.severity}`))),
        h(
          "p",
          {class: "muted"},
          device ? [h("a", {href: address(["devices", alarm.hostid])}, device), " ", lockMark(this.#rowOf(alarm)), " · "] : null,
          time,
          open ? null : ` – ${moment(alarm.cleared_at)}`,
        ),
        told,
      ),
      h("div", {class: "act"}, seen, button),
    );
    return {element, time};
  }

  #button(alarm, device, told) {
    const button = h(
      "button",
      {
        class: "small",
        disabled: !may("operator"),
        title: may("operator") ? null : t("why.role"),
        "aria-label": t("alarm.acknowledge.which", {title: titled(alarm.title), device: device ?? ""}),
        on: {
          click: async () => {
            button.disabled = true;
            try {
              const now = await api.acknowledge(alarm.number);
              if (now.recorded === false) this.#unrecorded.add(now.number);
              this.#done(now);
            } catch (error) {
              if (!(error instanceof api.Refused || error instanceof api.NoAnswer)) throw error;
              button.disabled = false;
              put(told, error instanceof api.NoAnswer ? t("error.no_answer.write") : t("error.refused", {why: why(error)}));
              if (error instanceof api.NoAnswer) this.#unknown();
            }
          },
        },
      },
      t("alarm.acknowledge"),
    );
    return button;
  }
}
