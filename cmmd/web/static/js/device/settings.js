// The owner's settings of a device, and what it said of itself.

import * as api from "../api.js";
import {moment} from "../format.js";
import {h, put} from "../dom.js";
import {confirm} from "../dialog.js";
import {t, tOr, titled} from "../i18n.js";
import {may} from "../session.js";
import {why} from "../why.js";

const NUMBERS = [
  ["history_interval", 1, 86_400, "any", "s"],
  ["online_rate", 100, 86_400_000, "1", "ms"],
  ["offline_rate", 100, 86_400_000, "1", "ms"],
];
const CHOICES = {data_mode: [0, 1], set_port: [0, 1, 2, 3, 4], set_baud: [0, 1, 2]};
const BAUD = ["9600", "19200", "115200"];

export class SettingsForm {
  #hostid = null;
  #control;
  #settings = "";
  #profiles = null;
  #told = h("p", {role: "status"});
  #form = h("form", {class: "card", on: {submit: (event) => this.#save(event)}});
  #facts = h("section", {class: "card"});
  #module = h("section", {class: "card"});
  #inputs = new Map();

  /** `changed(details)`: the device, here; null: perhaps. `more`: an element beside the others. */
  constructor(control, changed, more) {
    this.#control = control;
    this.changed = changed;
    this.element = h("div", {class: "columns"}, this.#form, this.#facts, this.#module, more);
  }

  /** The form stays as it is while somebody fills it in: it is made anew only where the settings are others. */
  async show(details) {
    this.#hostid = details.row.hostid;
    this.#showFacts(details);
    this.#showModule(details);
    const settings = JSON.stringify(details.settings);
    if (settings === this.#settings) return;
    this.#settings = settings;
    try {
      this.#profiles ??= await api.controllers();
    } catch (error) {
      if (!(error instanceof api.Refused || error instanceof api.NoAnswer)) throw error;
      this.#settings = "";
    }
    this.#fill(details.settings, this.#profiles ?? []);
  }

  #fill(settings, profiles) {
    const locked = !may("admin");
    this.#inputs.clear();
    const add = (name, control, unit) => {
      this.#inputs.set(name, control);
      return h("div", {class: "field row"}, h("label", {for: `set-${name}`}, t(`setting.${name}`)), h("span", {}, control, unit ? ` ${unit}` : ""));
    };
    // What is set is a choice in any case, also where nobody offers it any more: else saving something else would change it.
    const offered = (choices, chosen) => (chosen === null || choices.some(([value]) => value === chosen) ? choices : [...choices, [chosen, String(chosen)]]);
    const select = (name, choices, chosen) =>
      h(
        "select",
        {id: `set-${name}`, disabled: locked},
        h("option", {value: ""}, t("setting.default")),
        offered(choices, chosen).map(([value, text]) => h("option", {value: String(value), selected: String(value) === String(chosen)}, text)),
      );
    const enabled = h("input", {type: "checkbox", id: "set-enabled", checked: settings.enabled, disabled: locked});
    const history = h("input", {type: "checkbox", id: "set-history", checked: settings.history, disabled: locked});
    put(
      this.#form,
      h("h3", {}, t("settings.title")),
      locked ? h("p", {class: "why"}, t("settings.locked")) : null,
      NUMBERS.map(([name, min, max, step, unit]) =>
        add(
          name,
          h("input", {id: `set-${name}`, type: "number", min, max, step, placeholder: t("setting.default"), value: settings[name] ?? "", disabled: locked}),
          unit,
        ),
      ),
      Object.entries(CHOICES).map(([name, values]) =>
        add(
          name,
          select(
            name,
            values.map((value) => [value, name === "set_baud" ? `${BAUD[value]} bit/s` : t(`setting.${name}.${value}`)]),
            settings[name],
          ),
        ),
      ),
      add(
        "profile",
        select(
          "profile",
          profiles.map((one) => [one.name, titled(one.title)]),
          settings.profile,
        ),
      ),
      add(
        "read_as",
        h("input", {id: "set-read_as", type: "text", maxlength: 200, placeholder: t("setting.default"), value: settings.read_as ?? "", disabled: locked}),
      ),
      h("div", {class: "field row"}, h("span", {}), h("label", {class: "check"}, history, t("setting.history"))),
      h("div", {class: "field row"}, h("span", {}), h("label", {class: "check"}, enabled, t("setting.enabled"))),
      h("p", {class: "muted"}, t("settings.when")),
      this.#told,
      locked ? null : h("div", {class: "buttons"}, h("button", {class: "primary", type: "submit"}, t("settings.save"))),
    );
    this.#inputs.set("enabled", enabled);
    this.#inputs.set("history", history);
  }

  async #save(event) {
    event.preventDefault();
    const changes = changed(this.#inputs, JSON.parse(this.#settings));
    if (!Object.keys(changes).length) return put(this.#told, t("settings.unchanged"));
    if (
      changes.enabled === false &&
      !(await confirm({
        title: t("settings.disable", {device: this.#control.name}),
        text: h("p", {}, t("settings.disable.means")),
        yes: t("settings.disable.yes"),
        danger: true,
        signal: this.#control.signal,
      }))
    )
      return;
    put(this.#told);
    try {
      const details = await api.changeSettings(this.#hostid, changes);
      this.changed(details);
      put(this.#told, t(details?.recorded === false ? "told.not_recorded" : "settings.saved"));
    } catch (error) {
      if (error instanceof api.NoAnswer) put(this.#told, t("error.no_answer.write"));
      else if (error instanceof api.Refused) put(this.#told, t("error.refused", {why: why(error)}));
      else throw error;
      this.changed(null);
    }
  }

  /** A restart sets nothing in motion: no lock keeps it away. */
  #showModule({row}) {
    const disabled = !may("operator") || !row.online;
    if (this.#module.firstChild && this.#module.querySelector("button").disabled === disabled) return;
    put(
      this.#module,
      h("h3", {}, t("reset.title")),
      h("p", {}, t("reset.means")),
      h("button", {disabled, on: {click: () => this.#control.reset()}}, t("reset.yes")),
    );
  }

  #showFacts(details) {
    put(this.#facts, h("h3", {}, t("about.title")), facts(details));
  }
}

/** What the form says differently; an empty field is the default. */
function changed(inputs, settings) {
  const changes = {};
  for (const [name, input] of inputs) {
    const value =
      input.type === "checkbox" ? input.checked : input.value === "" ? null : ["profile", "read_as"].includes(name) ? input.value : Number(input.value);
    if (value !== settings[name]) changes[name] = value;
  }
  return changes;
}

/** How one thing about the device is decided, and since when. */
function readAs({name: hypothesis, choice, uploads}) {
  if (choice === null) return t("about.open", {hypothesis});
  return uploads === null ? t("about.decided", {hypothesis, choice}) : t("about.since", {hypothesis, choice, uploads});
}

function facts(details) {
  const {row} = details;
  const place = details.wgs84_latitude === null ? null : `${details.wgs84_latitude.toFixed(5)}, ${details.wgs84_longitude.toFixed(5)}`;
  const list = [
    ["hostid", row.hostid],
    ["number", row.number],
    ["moduletype", row.moduletype],
    ["profile", row.profile],
    ["registered", moment(details.registered_at)],
    ["login", moment(row.last_login_at)],
    ["address", details.sessions.join(", ") || null],
    ["port", details.module_port === null ? null : tOr(`setting.set_port.${details.module_port}`, details.module_port)],
    ["baud", details.module_baud === null ? null : `${BAUD[details.module_baud] ?? details.module_baud} bit/s`],
    ["place", place],
    ["altitude", details.altitude],
    ["read", details.hypotheses.map(readAs).join("; ")],
    ["plan", details.para_command.replaceAll(";", " ")],
  ];
  return h(
    "dl",
    {class: "facts"},
    list.map(([name, value]) => [
      h("dt", {}, t(`about.${name}`)),
      h("dd", {class: ["hostid", "plan"].includes(name) ? "mono" : ""}, value === null || value === "" ? "–" : titled(String(value))),
    ]),
  );
}
