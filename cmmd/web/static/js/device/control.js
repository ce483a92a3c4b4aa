// Modes, engine, breakers: buttons, a question before each, and what became of the last command.

import * as api from "../api.js";
import {confirm} from "../dialog.js";
import {when} from "../format.js";
import {h, icon, mark, put} from "../dom.js";
import {t, tOr, titled} from "../i18n.js";
import {may} from "../session.js";
import {why} from "../why.js";
import {blockedText, inputTitle} from "./beside.js";
import {Track} from "./track.js";

/** @type {[string, string[]][]} */
const GROUPS = [
  ["mode", ["auto", "manual", "test"]],
  ["engine", ["start", "stop"]],
  ["breakers", ["mains_breaker_toggle", "generator_breaker_toggle", "generator_breaker_open", "generator_breaker_close"]],
];
const DANGEROUS = new Set(["start", "test", "auto", "generator_breaker_toggle", "mains_breaker_toggle", "generator_breaker_open", "generator_breaker_close"]);
const OVERRIDABLE = new Set(["remote_inhibited", "stale"]); // refusals that an administrator may override for one command
const LINK_MS = 3000; // to wait for the stream, which a page that was just opened has not yet

/** What a refusal has to do with a command: nothing refuses Stop but what the daemon says of Stop, and no lock a restart. */
const SORTS = {
  command: ({blocked}) => blocked,
  stop: ({stop_blocked: blocked}) => blocked,
  reset: ({blocked}) => (blocked?.code === "locked" ? null : blocked),
};

export class Control {
  #fleet;
  #details = null;
  #live = null;
  #buttons = new Map();
  #stopping = false; // whether Stop is asked about
  #fresh;
  #track;
  #stopTrack;
  #abort = new AbortController();

  /** `fresh()`: asks how the device is, and has it shown here before it resolves; `beside`: a button beside the head. */
  constructor(fleet, fresh, beside = null) {
    this.#fleet = fleet;
    this.#fresh = fresh;
    const followed = {fleet, device: () => this.#details, signal: this.signal};
    this.#track = new Track(followed);
    this.#stopTrack = new Track({...followed, loud: true});
    this.why = h("p", {class: "why", id: "why-not", hidden: true});
    this.groups = h("div", {class: "command-groups"});
    this.element = h(
      "section",
      {class: "card control", "aria-labelledby": "control-title"},
      h("div", {class: "between"}, h("h2", {id: "control-title"}, t("control.title")), beside),
      this.why,
      this.groups,
      this.#stopTrack.element,
      this.#track.element,
    );
    this.ticking = setInterval(() => {
      this.#track.tick();
      this.#stopTrack.tick();
    }, 1000);
  }

  close() {
    clearInterval(this.ticking);
    this.#abort.abort();
  }

  /** `details`: of the device; `live`: its live record. */
  show(details, live) {
    const offered = (one) => JSON.stringify([one?.commands.map(({name}) => name), one?.withheld]);
    const names = offered(details);
    const before = offered(this.#details);
    this.#details = details;
    this.#live = live;
    if (names !== before) this.#build();
    this.#settle();
  }

  /** A command of this device has changed. Stop has a place of its own, so that nothing displaces it. */
  changed(command) {
    if (command.name === api.STOP) return this.#stopTrack.changed(command);
    this.#track.changed(command);
    this.#stopTrack.retire(command.number);
  }

  /** There was a gap in the stream. */
  catchUp() {
    this.#track.catchUp();
    this.#stopTrack.catchUp();
  }

  /** Ends with the page. */
  get signal() {
    return this.#abort.signal;
  }

  get name() {
    return this.#details.row.hostname || this.#details.row.hostid;
  }

  /** What somebody who is asked goes by: mode, engine, and breakers. */
  state() {
    const signals = (this.#live?.signals ?? []).filter((one) => one.name.endsWith("_on_load"));
    return JSON.stringify([this.#live?.mode ?? null, this.#live?.engine_state ?? null, signals.map((one) => [one.name, one.active])]);
  }

  /** Why this sort of command cannot be sent now, {code, text}; null: it can. */
  reason(sort = "command") {
    if (!may("operator")) return {code: "role", text: t("why.role")};
    const blocked = SORTS[sort](this.#live);
    return blocked && {code: blocked.code, text: blockedText(blocked, this.#live, this.#details)};
  }

  /** Have the module restart, once somebody has agreed. */
  async reset() {
    const state = await this.#look({sort: "reset"});
    if (state === null) return;
    const yes = await confirm({
      title: t("reset.ask", {device: this.name}),
      text: h("p", {}, t("reset.means")),
      yes: t("reset.yes"),
      danger: true,
      signal: this.signal,
    });
    if (yes && (await this.#look({sort: "reset", state})) !== null) await this.#track.send({kind: "reset"});
  }

  // --- what can be sent --------------------------------------------------------------------------------------------

  /**
   * The state that somebody is asked about, as the daemon has it now; null: nothing can be sent, and it is told why.
   * `state`: in which it was asked about; where that is over, nothing is sent. `override`: the refusal that does not count.
   */
  async #look({sort = "command", info = null, override = null, state = null}) {
    if (this.#track.busy) return null;
    const done = this.#track.look();
    let hindrance;
    try {
      hindrance = await this.#hindrance(sort, info, override);
    } catch (error) {
      if (error.name === "AbortError") return null; // the page is gone
      throw error;
    } finally {
      done();
    }
    if (this.signal.aborted) return null;
    if (hindrance === null && state !== null && this.state() !== state) hindrance = {code: "changed", text: t("why.changed")};
    this.#track.refuse(hindrance && hindrance.text, hindrance && this.#anyway(info, hindrance.code));
    return hindrance === null ? this.state() : null;
  }

  async #hindrance(sort, info, override) {
    if (!may("operator")) return this.reason(sort);
    await this.#linked();
    try {
      await this.#fresh();
    } catch (error) {
      if (error instanceof api.NoAnswer) return {code: "unheard", text: t("why.unheard")};
      if (error instanceof api.Refused) return {code: error.code, text: why(error)};
      throw error;
    }
    const reason = this.reason(sort);
    if (reason !== null && reason.code !== override) return reason;
    if (reason === null && override === "remote_inhibited") return {code: "changed", text: t("why.no_override")};
    if (this.#fleet.linked !== true) return {code: "unlinked", text: t("why.unlinked")};
    // What a toggle does depends on a state; other commands are not refused by the daemon for that, but by this page.
    return this.#live.stale && override !== "stale" ? {code: info?.name.endsWith("_toggle") ? "stale" : "old", text: t("why.old")} : null;
  }

  /** Wait a little for the connection, where there is none. */
  #linked() {
    if (this.#fleet.linked === true) return null;
    return /** @type {Promise<void>} */ (
      new Promise((resolve) => {
        const done = () => {
          clearTimeout(timer);
          this.#fleet.removeEventListener("link", look);
          resolve();
        };
        const look = () => this.#fleet.linked && done();
        const timer = setTimeout(done, LINK_MS);
        this.#fleet.addEventListener("link", look);
      })
    );
  }

  // --- buttons -----------------------------------------------------------------------------------------------------

  #build() {
    const infos = new Map(this.#details.commands.map((one) => [one.name, one]));
    const known = new Set(GROUPS.flatMap(([, names]) => names));
    /** @type {[string, string[]][]} */
    const groups = [...GROUPS, ["more", [...infos.keys()].filter((name) => !known.has(name))]];
    this.#buttons.clear();
    put(
      this.groups,
      groups.map(([group, names]) => {
        const there = names.filter((name) => infos.has(name));
        if (!there.length) return null;
        return h(
          "div",
          {class: `command-group g-${group}`, role: "group", "aria-label": t(`control.${group}`)},
          h("span", {class: "legend"}, t(`control.${group}`)),
          h(
            "div",
            {class: "buttons"},
            there.map((name) => {
              const info = infos.get(name);
              const button = h(
                "button",
                {class: `command k-${name}`, on: {click: () => (name === api.STOP ? this.#stop(info) : this.#ask(info))}},
                this.#label(info),
              );
              this.#buttons.set(name, button);
              return button;
            }),
          ),
        );
      }),
    );
    const withheld = Object.keys(this.#details.withheld);
    if (withheld.length)
      this.groups.append(
        h(
          "p",
          {class: "muted withheld"},
          t(infos.size ? "control.withheld_some" : "control.withheld", {commands: withheld.map((name) => tOr(`command.${name}`, name)).join(", ")}),
        ),
      );
    else if (!infos.size) put(this.groups, h("p", {class: "muted"}, t("control.none")));
  }

  #label(info) {
    return tOr(`command.${info.name}`, titled(info.title));
  }

  #settle() {
    const reason = this.reason();
    const stop = this.reason("stop");
    const text =
      reason &&
      [
        t(stop === null && this.#buttons.has(api.STOP) ? "why.blocked_but_stop" : "why.blocked", {why: reason.text}),
        this.#mayOverride(reason.code) ? t("why.anyway") : "",
      ]
        .filter(Boolean)
        .join(" ");
    this.why.hidden = reason === null;
    if (text !== null && this.why.textContent !== text) put(this.why, icon(reason.code === "locked" ? "lock" : "unknown"), h("span", {}, text));
    for (const [name, button] of this.#buttons) {
      const blocked = (name === api.STOP ? stop : reason) !== null;
      // Disabled, and yet to be found with the keyboard: the reason is read along with it.
      mark(button, "aria-disabled", blocked ? "true" : null);
      mark(button, "aria-describedby", blocked ? "why-not" : null);
      const on = this.#live?.mode === name && this.#live.online && !this.#live.stale;
      mark(button, "data-on", on ? "" : null);
      mark(button, "aria-current", on ? "true" : null);
    }
  }

  // --- questions ---------------------------------------------------------------------------------------------------

  /** Stop waits for nothing: it is asked about once, whatever else is under way, and sent at once, whatever changes. */
  async #stop(info) {
    if (this.reason("stop") !== null || this.#stopping) return;
    this.#stopping = true;
    const yes = await this.#confirmed(info);
    this.#stopping = false;
    if (yes) await this.#stopTrack.send({kind: "named", name: info.name});
  }

  async #ask(info) {
    const reason = this.reason();
    if (this.#track.busy) return;
    if (reason === null) await this.#send(info);
    else if (this.#mayOverride(reason.code)) this.#track.refuse(reason.text, this.#anyway(info, reason.code));
  }

  /** Ask, and send; `override`: the refusal that somebody overrides. */
  async #send(info, override = null) {
    const state = await this.#look({info, override});
    if (state === null || !(await this.#confirmed(info, override))) return;
    if ((await this.#look({info, override, state})) === null) return;
    await this.#track.send({kind: "named", name: info.name, ...(override && {override})}, ({code}) => this.#anyway(info, code));
  }

  #mayOverride(code) {
    return OVERRIDABLE.has(code) && may("admin");
  }

  /** A button to send it all the same, with a question of its own; null: that cannot be. */
  #anyway(info, code) {
    if (info === null || !this.#mayOverride(code)) return null;
    return h("button", {class: "small anyway", on: {click: () => this.#track.busy || this.#send(info, code)}}, t("override.do", {command: this.#label(info)}));
  }

  #confirmed(info, override = null) {
    const {row} = this.#details;
    const mode = this.#live?.mode;
    const command = this.#label(info);
    const facts = [
      [t("dialog.device"), `${this.name}`],
      [t("dialog.hostid"), row.hostid],
      [t("dialog.command"), command],
      [
        t("dialog.now"),
        [mode ? t(`mode.${mode}`) : t("mode.unknown"), this.#live?.engine_state ? titled(this.#live.engine_state) : t("turns.unknown")].join(" · "),
      ],
      ...(override ? this.#overridden(override) : []),
    ];
    const caution = (text) => h("p", {class: "caution"}, icon("warning"), h("span", {}, text));
    const text = [
      h(
        "dl",
        {class: "facts"},
        facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
      ),
      override ? caution(t(`override.${override}`)) : null,
      DANGEROUS.has(info.name) ? caution(tOr(`caution.${info.name}`, t("caution.any"))) : null,
      info.only_in_mode && mode !== info.only_in_mode ? caution(t("caution.only_in_mode", {mode: t(`mode.${info.only_in_mode}`)})) : null,
    ];
    const [title, yes] = override ? ["override.title", "override.yes"] : ["dialog.title", "dialog.send"];
    return confirm({
      title: t(title, {command, device: this.name}),
      text,
      yes: t(yes, {command}),
      danger: override !== null || DANGEROUS.has(info.name),
      signal: this.signal,
    });
  }

  /** What is overridden, since when, and by which address it was said. */
  #overridden(code) {
    const report = code === "remote_inhibited" ? this.#live.input_reports.remote_inhibited : null;
    const [what, at, address] = report
      ? [inputTitle("remote_inhibited"), report.said_at, report.address]
      : [t("quality.stale"), this.#live.at, this.#details.row.address];
    return [
      [t("override.what"), what],
      [t("override.said"), when(at)],
      [t("override.address"), address || t("doubt.no_home")],
    ];
  }
}
