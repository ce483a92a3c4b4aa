// The owner's settings of a device, and what it said of itself.

import * as api from "../api.js";
import {moment} from "../format.js";
import {h, put} from "../dom.js";
import {confirm} from "../dialog.js";
import {t, tOr, titled} from "../i18n.js";
import {may} from "../session.js";

const NUMBERS = [["history_interval", 1, 86_400, "any", "s"], ["online_rate", 100, 86_400_000, "1", "ms"], ["offline_rate", 100, 86_400_000, "1", "ms"]];
const CHOICES = {data_mode: [0, 1], set_port: [0, 1, 2, 3, 4], set_baud: [0, 1, 2]};
const BAUD = ["9600", "19200", "115200"];

export class SettingsForm {
  #hostid = null;
  #control;
  #shown = "";

  constructor(control, changed) {
    this.#control = control;
    this.changed = changed;
    this.element = h("div", {class: "columns"});
  }

  async show(details) {
    this.#hostid = details.row.hostid;
    const key = JSON.stringify([details.settings, details.registered_at, details.row.last_login_at, details.sessions]);
    if (key === this.#shown) return;
    this.#shown = key;
    let profiles = [];
    try {
      profiles = await api.controllers();
    } catch (error) {
      if (!(error instanceof api.Refused || error instanceof api.NoAnswer)) throw error;
    }
    put(this.element, this.#form(details, profiles), facts(details), this.#reset(details));
  }

  #form({settings}, profiles) {
    const locked = !may("admin");
    const told = h("p", {role: "status"});
    const field = (name, control, unit) => h("div", {class: "field row"}, h("label", {for: `set-${name}`}, t(`setting.${name}`)), h("span", {}, control, unit ? ` ${unit}` : ""));
    const inputs = new Map();
    const add = (name, control, unit) => {
      inputs.set(name, control);
      return field(name, control, unit);
    };
    const select = (name, choices, chosen) => h("select", {id: `set-${name}`, disabled: locked},
      h("option", {value: ""}, t("setting.default")), choices.map(([value, text]) => h("option", {value: String(value), selected: String(value) === String(chosen)}, text)));
    const form = h("form", {class: "card"}, h("h3", {}, t("settings.title")), locked ? h("p", {class: "why"}, t("settings.locked")) : null,
      NUMBERS.map(([name, min, max, step, unit]) => add(name, h("input", {id: `set-${name}`, type: "number", min, max, step, placeholder: t("setting.default"), value: settings[name] ?? "", disabled: locked}), unit)),
      Object.entries(CHOICES).map(([name, values]) => add(name, select(name, values.map((value) => [value, name === "set_baud" ? `${BAUD[value]} bit/s` : t(`setting.${name}.${value}`)]), settings[name]))),
      add("profile", select("profile", profiles.map((one) => [one.name, one.title]), settings.profile)),
      h("div", {class: "field row"}, h("span", {}), h("label", {class: "check"}, inputs.set("enabled", h("input", {type: "checkbox", id: "set-enabled", checked: settings.enabled, disabled: locked})).get("enabled"), t("setting.enabled"))),
      h("p", {class: "muted"}, t("settings.when")), told,
      locked ? null : h("div", {class: "buttons"}, h("button", {class: "primary", type: "submit"}, t("settings.save"))));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const changes = changed(inputs, settings);
      if (!Object.keys(changes).length) return put(told, t("settings.unchanged"));
      if (changes.enabled === false && !(await confirm({title: t("settings.disable", {device: this.#control.name}), text: h("p", {}, t("settings.disable.means")), yes: t("settings.disable.yes"), danger: true}))) return;
      try {
        const details = await api.changeSettings(this.#hostid, changes);
        this.changed(details);
        put(told, t("settings.saved"));
      } catch (error) {
        if (error instanceof api.NoAnswer) put(told, t("error.no_answer.write"));
        else if (error instanceof api.Refused) put(told, t("error.refused", {why: error.message}));
        else throw error;
      }
    });
    return form;
  }

  #reset(details) {
    const told = may("operator");
    return h("section", {class: "card"}, h("h3", {}, t("reset.title")), h("p", {}, t("reset.means")),
      h("button", {disabled: !told || !details.row.online, on: {click: async () => {
        const yes = await confirm({title: t("reset.ask", {device: this.#control.name}), text: h("p", {}, t("reset.means")), yes: t("reset.yes"), danger: true});
        if (yes) await this.#control.send({kind: "reset"});
      }}}, t("reset.yes")));
  }
}

/** What the form says differently; an empty field is the default. */
function changed(inputs, settings) {
  const changes = {};
  for (const [name, input] of inputs) {
    const value = input.type === "checkbox" ? input.checked : input.value === "" ? null : name === "profile" ? input.value : Number(input.value);
    if (value !== settings[name]) changes[name] = value;
  }
  return changes;
}

function facts(details) {
  const {row} = details;
  const place = details.wgs84_latitude === null ? null : `${details.wgs84_latitude.toFixed(5)}, ${details.wgs84_longitude.toFixed(5)}`;
  const list = [
    ["hostid", row.hostid], ["number", row.number], ["moduletype", row.moduletype], ["profile", row.profile], ["registered", moment(details.registered_at)],
    ["login", moment(row.last_login_at)], ["address", details.sessions.join(", ") || null],
    ["port", details.module_port === null ? null : tOr(`setting.set_port.${details.module_port}`, details.module_port)],
    ["baud", details.module_baud === null ? null : `${BAUD[details.module_baud] ?? details.module_baud} bit/s`],
    ["place", place], ["altitude", details.altitude], ["byte_order", details.byte_order], ["plan", details.para_command.replaceAll(";", " ")],
  ];
  return h("section", {class: "card"}, h("h3", {}, t("about.title")), h("dl", {class: "facts"}, list.map(([name, value]) => [h("dt", {}, t(`about.${name}`)), h("dd", {class: ["hostid", "plan"].includes(name) ? "mono" : ""}, value === null || value === "" ? "–" : titled(String(value)))])));
}
