// For administrators: a module whose ID or password a stranger has taken, or that is gone for good.

import * as api from "../api.js";
import {confirm} from "../dialog.js";
import {h, icon, put} from "../dom.js";
import {t} from "../i18n.js";
import {may} from "../session.js";
import {why} from "../why.js";

const LONGEST_PASSWORD = 20;

export class Repair {
  #details = null;
  #signal;
  #changed;
  #gone;
  #told = h("p", {role: "status"});

  /** `changed(details)`: the device, here; null: perhaps. `gone()`: it is known no more. `signal`: ends with the page. */
  constructor({changed, gone, signal}) {
    this.#changed = changed;
    this.#gone = gone;
    this.#signal = signal;
    this.element = h(
      "section",
      {class: "card repair", hidden: !may("admin")},
      h("h3", {}, t("repair.title")),
      h("p", {}, t("repair.reset.means")),
      h("div", {class: "buttons"}, h("button", {data: {act: "reset-password"}, on: {click: () => this.#reset()}}, t("repair.reset"))),
      h("p", {}, t("repair.forget.means")),
      h("div", {class: "buttons"}, h("button", {data: {act: "forget"}, on: {click: () => this.#forget()}}, t("repair.forget"))),
      this.#told,
    );
  }

  show(details) {
    this.#details = details;
  }

  async #reset() {
    const asked = this.#details;
    const field = h("input", {
      id: "new-password",
      maxlength: LONGEST_PASSWORD,
      autocomplete: "off",
      spellcheck: "false",
      "aria-describedby": "new-password-help",
    });
    const text = [
      this.#which(asked),
      h("p", {class: "caution"}, icon("warning"), h("span", {}, t("repair.reset.caution"))),
      h("div", {class: "field"}, h("label", {for: "new-password"}, t("repair.password")), field),
      h("p", {class: "muted", id: "new-password-help"}, t("repair.password.help")),
    ];
    if (!(await confirm({title: t("repair.reset.ask", {device: name(asked)}), text, yes: t("repair.reset.yes"), danger: true, signal: this.#signal}))) return;
    await this.#do(asked, async () => {
      const details = await api.resetPassword(asked.row.hostid, field.value || null);
      this.#changed(details);
      put(this.#told, icon("ok"), t("repair.reset.done"), details?.recorded === false ? ` ${t("told.not_recorded")}` : null);
    });
  }

  async #forget() {
    const asked = this.#details;
    const text = [this.#which(asked), h("p", {class: "caution"}, icon("warning"), h("span", {}, t("repair.forget.caution")))];
    if (!(await confirm({title: t("repair.forget.ask", {device: name(asked)}), text, yes: t("repair.forget.yes"), danger: true, signal: this.#signal}))) return;
    await this.#do(asked, async () => {
      await api.forgetDevice(asked.row.hostid);
      this.#gone();
    });
  }

  /** Which device it is, as it stands on the module. */
  #which({row, sessions}) {
    const facts = [
      ["about.hostid", row.hostid],
      ["about.number", row.number],
      ["about.address", sessions.join(", ") || t("state.offline")],
    ];
    return h(
      "dl",
      {class: "facts"},
      facts.map(([key, value]) => [h("dt", {}, t(key)), h("dd", {}, value)]),
    );
  }

  /** Nothing is done to another device that has registered under this module ID since the question. */
  async #do(asked, call) {
    put(this.#told);
    try {
      const now = await api.device(asked.row.hostid, this.#signal);
      if (now.row.number === asked.row.number) await call();
      else put(this.#told, icon("warning"), t("repair.changed"));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof api.Refused || error instanceof api.NoAnswer)) throw error;
      put(this.#told, icon("warning"), error instanceof api.NoAnswer ? t("error.no_answer.write") : t("error.refused", {why: why(error)}));
      this.#changed(null);
    }
  }
}

const name = ({row}) => row.hostname || row.hostid;
