// The active alarms of one device. What is not known is not none: a fetch that fails is said, and done again.

import * as api from "../api.js";
import {AlarmList, byUrgency} from "../alarmlist.js";
import {h, icon, put, throttled} from "../dom.js";
import {t} from "../i18n.js";
import {inTurn} from "../inturn.js";
import {why} from "../why.js";

const MOST = 200;
const AGAIN_MS = [1000, 30_000]; // alarms that could not be had are asked for again: first, and at the longest
const SEVERITIES = ["shutdown", "alarm", "warning"];

export class DeviceAlarms {
  #hostid;
  #signal;
  #changed;
  #alarms = null; // null: not known
  #error = null;
  #pause = AGAIN_MS[0];
  #timer = null;
  #note = h("p", {class: "muted alarms-unknown", role: "status", hidden: true});
  #list;

  /** `soon_ms`: between two fetches; `changed()`: the alarms, or what is known of them; `signal`: ends with the page. */
  constructor({hostid, soon_ms, changed, signal}) {
    this.#hostid = hostid;
    this.#signal = signal;
    this.#changed = changed;
    this.fetch = inTurn(() => this.#fetch());
    this.soon = throttled(soon_ms, () => this.fetch());
    this.#list = new AlarmList({
      done: (now) => {
        this.#alarms = this.#alarms?.map((one) => (one.number === now.number ? now : one)) ?? null;
        this.#changed();
      },
      unknown: () => this.soon(),
    });
    this.element = h(
      "section",
      {class: "card alarms", tabindex: "-1", "aria-labelledby": "alarms-title"},
      h("h2", {id: "alarms-title"}, t("nav.alarms")),
      this.#note,
      this.#list.element,
    );
  }

  close() {
    this.soon.cancel();
    clearTimeout(this.#timer);
  }

  /** The worst severity; null: no alarm is active; undefined: that is not known. */
  get worst() {
    if (this.#alarms === null) return undefined;
    return SEVERITIES.find((one) => this.#alarms.some((alarm) => alarm.severity === one)) ?? null;
  }

  /** Fetch them again where the device's row counts others than are here. */
  compare(count) {
    const agree = this.#alarms !== null && (this.#alarms.length === MOST || this.#alarms.length === count);
    if (!this.#error && !agree) this.soon();
  }

  async #fetch() {
    clearTimeout(this.#timer);
    try {
      const {alarms} = await api.alarms({hostid: this.#hostid, limit: MOST}, this.#signal);
      if (!Array.isArray(alarms)) throw new api.NoAnswer("the answer is another");
      this.#alarms = alarms;
      this.#error = null;
      [this.#pause] = AGAIN_MS;
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#error = error;
      this.#timer = setTimeout(() => this.soon(), this.#pause);
      this.#pause = Math.min(this.#pause * 2, AGAIN_MS[1]);
      if (!(error instanceof api.Refused || error instanceof api.NoAnswer)) console.error(error);
    }
    this.#changed();
  }

  /** That no alarm is open is said only where the daemon says so, in its list and in the device's row (`open`). */
  show(open, now) {
    const none = !this.#alarms?.length;
    const unknown = this.#alarms === null || (none && (open > 0 || this.#error));
    const error = this.#error;
    const failed = error === null ? "" : error instanceof api.Refused ? t("error.refused", {why: why(error)}) : t("error.no_answer");
    const text = unknown
      ? [open ? t("device.alarms.open", {n: open}) : t("device.alarms.unknown"), failed].filter(Boolean).join(" ")
      : error
        ? `${t("device.alarms.old")} ${failed}`
        : "";
    this.#list.element.hidden = Boolean(unknown);
    this.#note.hidden = !text;
    if (this.#note.textContent !== text) put(this.#note, text ? [icon("warning"), h("span", {}, text)] : null);
    if (this.#alarms) this.#list.show([...this.#alarms].sort(byUrgency), now);
  }
}
