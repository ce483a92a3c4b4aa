// What people beside the machine rely on: the maintenance lock, doubt about which device is there, and its own inputs.

import * as api from "../api.js";
import {confirm} from "../dialog.js";
import {when} from "../format.js";
import {h, icon, put} from "../dom.js";
import {t, tOr} from "../i18n.js";
import {may, me} from "../session.js";
import {why} from "../why.js";

const LONGEST_REASON = 200;
const MARKS = {access_alarm: "warning", fire_alarm: "alarm", alarm_input: "alarm", remote_inhibited: "no"};

/** When an input was last said, and by which address. */
export function saidText({said_at: at, address}) {
  return address ? t("input.said", {time: when(at), address}) : t("input.said.unknown", {time: when(at)});
}

/** The addresses of sessions that make it doubtful which device is there; null: it is certain. */
function doubtText({row, last_login_address: home}, {blocked}) {
  const addresses = row.in_doubt.join(", ");
  if (!addresses) return blocked?.code === "ambiguous_session" ? t("doubt.unnamed") : null;
  return t("doubt.named", {addresses, home: home ?? t("doubt.no_home")});
}

/** Why a command is refused, with who, when and why, where that is known. */
export function blockedText({code, detail}, live, details) {
  const report = live.input_reports.remote_inhibited;
  if (code === "locked" && live.lock) return t("lock.since", {...live.lock, time: when(live.lock.at)});
  if (code === "remote_inhibited" && report) return `${t("code.remote_inhibited")}, ${saidText(report)}`;
  if (code === "ambiguous_session" && details.row.in_doubt.length) return `${t("code.ambiguous_session")} (${details.row.in_doubt.join(", ")})`;
  return tOr(`code.${code}`, detail);
}

export class Beside {
  #details = null;
  #live = null;
  #changed;
  #signal;

  /** `changed(details)`: they were changed here, or null: perhaps; `signal`: ends with the page. */
  constructor({changed, signal}) {
    this.#changed = changed;
    this.#signal = signal;
    this.told = h("p", {class: "wrong", role: "alert"});
    this.list = h("div", {class: "notices"});
    this.element = h("div", {class: "beside"}, this.list, this.told);
    this.lockButton = h("button", {class: "small lock", on: {click: () => this.#lock()}}, icon("lock"), t("lock.do"));
    this.lockButton.disabled = !may("operator");
    if (this.lockButton.disabled) this.lockButton.title = t("why.role");
  }

  show(details, live) {
    this.#details = details;
    this.#live = live;
    this.lockButton.hidden = live.lock !== null;
    const doubt = doubtText(details, live);
    const active = Object.entries(live.input_reports).filter(([, report]) => report.active);
    const key = JSON.stringify([live.lock, doubt, active]);
    if (key === this.key) return;
    this.key = key;
    const focused = /** @type {HTMLElement} */ (document.activeElement);
    const held = this.list.contains(focused) ? focused.dataset.act : null;
    put(
      this.list,
      live.lock ? this.#lockNotice(live.lock) : null,
      doubt && h("div", {class: "notice doubt"}, icon("alarm"), h("p", {}, doubt)),
      active.length
        ? h(
            "ul",
            {class: "reports", "aria-label": t("signals.inputs")},
            active.map(([name, report]) => this.#report(name, report)),
          )
        : null,
    );
    if (held) (this.list.querySelector(`[data-act="${held}"]`) ?? this.lockButton).focus({preventScroll: true});
  }

  get #name() {
    return this.#details.row.hostname || this.#details.row.hostid;
  }

  #lockNotice(lock) {
    const allowed = may("admin") || lock.by === `token ${me.name}`;
    const button = h("button", {class: "small", data: {act: "unlock"}, disabled: !allowed, on: {click: () => this.#unlock(lock)}}, t("unlock.do"));
    return h(
      "div",
      {class: "notice lock"},
      icon("lock"),
      h("p", {}, t("lock.banner", {...lock, time: when(lock.at)})),
      may("operator") ? [button, allowed ? null : h("span", {class: "muted"}, t("unlock.whose", {by: lock.by}))] : null,
    );
  }

  #report(name, report) {
    const title = inputTitle(name);
    return h(
      "li",
      {class: "report", data: {input: name}},
      icon(MARKS[name] ?? "warning"),
      h("b", {}, title),
      h("span", {}, saidText(report)),
      report.stale ? h("span", {class: "tag stale"}, icon("wait"), t("input.stale")) : null,
      may("admin")
        ? h(
            "button",
            {class: "small", data: {act: `clear ${name}`}, "aria-label": t("input.clear.which", {input: title}), on: {click: () => this.#clear(name, report)}},
            t("input.clear"),
          )
        : null,
    );
  }

  async #lock() {
    const field = h("input", {id: "lock-reason", required: true, maxlength: LONGEST_REASON, autofocus: true, autocomplete: "off"});
    const text = [
      h("p", {}, t("lock.means")),
      h("p", {class: "caution"}, icon("warning"), h("span", {}, t("lock.caution"))),
      h("div", {class: "field"}, h("label", {for: "lock-reason"}, t("lock.reason")), field),
    ];
    const {hostid} = this.#details.row;
    if (await confirm({title: t("lock.ask", {device: this.#name}), text, yes: t("lock.yes"), signal: this.#signal, field}))
      await this.#do(() => api.lockDevice(hostid, field.value.trim()));
  }

  async #unlock(lock) {
    const text = [h("p", {}, t("lock.banner", {...lock, time: when(lock.at)})), h("p", {class: "caution"}, icon("warning"), h("span", {}, t("unlock.means")))];
    const {hostid} = this.#details.row;
    if (!(await confirm({title: t("unlock.ask", {device: this.#name}), text, yes: t("unlock.do"), danger: true, signal: this.#signal}))) return;
    if (JSON.stringify(this.#live.lock) === JSON.stringify(lock)) await this.#do(() => api.unlockDevice(hostid));
    else put(this.told, t("unlock.changed"));
  }

  async #clear(name, report) {
    const title = inputTitle(name);
    const text = [h("p", {}, `${title}: ${saidText(report)}`), h("p", {class: "caution"}, icon("warning"), h("span", {}, t("input.clear.means")))];
    const {hostid} = this.#details.row;
    if (await confirm({title: t("input.clear.ask", {input: title, device: this.#name}), text, yes: t("input.clear"), danger: true, signal: this.#signal}))
      await this.#do(() => api.clearInput(hostid, name));
  }

  async #do(call) {
    put(this.told);
    try {
      const details = await call();
      this.#changed(details);
      if (details?.recorded === false) put(this.told, t("told.not_recorded"));
    } catch (error) {
      if (!(error instanceof api.Refused || error instanceof api.NoAnswer)) throw error;
      put(this.told, error instanceof api.NoAnswer ? t("error.no_answer.write") : t("error.refused", {why: why(error)}));
      this.#changed(null);
    }
  }
}

export const inputTitle = (name) => tOr(`input.${name}`, name);
