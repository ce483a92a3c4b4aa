// Modes, engine, breakers: buttons, a question before each, and what became of the last command.

import * as api from "../api.js";
import {confirm} from "../dialog.js";
import {clock} from "../format.js";
import {h, icon, mark, put} from "../dom.js";
import {t, tOr, titled} from "../i18n.js";
import {may, me} from "../session.js";
import {commandName, steps, verdict, watching} from "./outcome.js";

const GROUPS = [["mode", ["auto", "manual", "test"]], ["engine", ["start", "stop"]], ["breakers", ["mains_breaker_toggle", "generator_breaker_toggle"]]];
const DANGEROUS = new Set(["start", "test", "auto", "generator_breaker_toggle", "mains_breaker_toggle"]);
const WAIT_S = 50;
const PAUSES_MS = [1000, 30_000]; // between attempts to follow a command: the first, and the longest
const SKEW_MS = 2000;

export class Control {
  #fleet;
  #details = null;
  #live = null;
  #status = null;
  #buttons = new Map();
  #last = null;
  #asking = false;
  #problem = null; // what stands in the way of the command asked for last: an error, or a text
  #sent = null; // what was asked for last
  #abort = new AbortController();

  constructor(fleet) {
    this.#fleet = fleet;
    this.why = h("p", {class: "why", id: "why-not", hidden: true});
    this.groups = h("div", {class: "command-groups"});
    this.outcome = h("div", {class: "outcome", role: "status", "aria-live": "polite"});
    this.element = h("section", {class: "card control", "aria-labelledby": "control-title"},
      h("h2", {id: "control-title"}, t("control.title")), this.why, this.groups, this.outcome);
    this.ticking = setInterval(() => this.#tick(), 1000);
  }

  close() {
    clearInterval(this.ticking);
    this.#abort.abort();
  }

  /** `details`: of the device; `live`: its live record. */
  show(details, live) {
    const names = details.commands.map((one) => one.name).join();
    const before = this.#details?.commands.map((one) => one.name).join();
    this.#details = details;
    this.#live = live;
    if (names !== before) this.#build();
    this.#settle();
  }

  /** A command of this device has changed. */
  changed(command) {
    if (this.#last === null || command.number >= this.#last.number) {
      const another = command.number !== this.#last?.number;
      // Whether something was done that had no answer is known from its record only, not from somebody else's.
      if (this.#problem instanceof api.NoAnswer ? this.#isSent(command) : another) this.#problem = null;
      this.#last = command;
      this.#tell();
    }
  }

  /** Whether this is the record of what was asked for last. */
  #isSent(command) {
    if (!command || !this.#sent) return false;
    const {body, after, since} = this.#sent;
    return command.number > after && command.accepted_at >= since && command.name === (body.name ?? null)
      && (body.kind === "named" || command.kind === body.kind) && (command.requester ?? "").includes(me.name ?? "");
  }

  /** Ends with the page. */
  get signal() {
    return this.#abort.signal;
  }

  /** What somebody who is asked goes by: mode, engine, and breakers. */
  state() {
    const signals = (this.#live?.signals ?? []).filter((one) => one.name.endsWith("_on_load"));
    return JSON.stringify([this.#live?.mode ?? null, this.#live?.engine_state ?? null, signals.map((one) => [one.name, one.active])]);
  }

  /** Send something that was asked about in this state; not where that is over. */
  async sendIf(asked, body) {
    const why = this.reason() ?? (this.state() === asked ? null : t("why.changed"));
    if (why === null) return this.send(body);
    this.#problem = why;
    this.#tell();
    this.element.scrollIntoView({block: "nearest"});
  }

  get name() {
    return this.#details.row.hostname || this.#details.row.hostid;
  }

  /** Why nothing can be sent now; null: it can. */
  reason() {
    if (!may("operator")) return t("why.role");
    const {blocked} = this.#live;
    return blocked && tOr(`code.${blocked.code}`, blocked.detail);
  }

  #build() {
    const infos = new Map(this.#details.commands.map((one) => [one.name, one]));
    const known = new Set(GROUPS.flatMap(([, names]) => names));
    const groups = [...GROUPS, ["more", [...infos.keys()].filter((name) => !known.has(name))]];
    this.#buttons.clear();
    put(this.groups, groups.map(([group, names]) => {
      const there = names.filter((name) => infos.has(name));
      if (!there.length) return null;
      return h("div", {class: `command-group g-${group}`, role: "group", "aria-label": t(`control.${group}`)}, h("span", {class: "legend"}, t(`control.${group}`)), h("div", {class: "buttons"}, there.map((name) => {
        const info = infos.get(name);
        const button = h("button", {class: `command k-${name}`, "aria-describedby": "why-not", on: {click: () => this.#ask(info)}}, this.#label(info));
        this.#buttons.set(name, button);
        return button;
      })));
    }));
    if (!infos.size) put(this.groups, h("p", {class: "muted"}, t("control.none")));
  }

  #label(info) {
    return tOr(`command.${info.name}`, titled(info.title));
  }

  #settle() {
    const reason = this.reason();
    this.why.hidden = reason === null;
    if (reason) put(this.why, icon("unknown"), h("span", {}, t("why.blocked", {why: reason})));
    for (const [name, button] of this.#buttons) {
      // Disabled, and yet to be found with the keyboard: the reason is read along with it.
      mark(button, "aria-disabled", reason === null ? null : "true");
      mark(button, "data-on", this.#live?.mode === name && this.#live.online ? "" : null);
      mark(button, "aria-current", this.#live?.mode === name && this.#live.online ? "true" : null);
    }
  }

  async #ask(info) {
    if (this.reason() !== null || this.#asking) return;
    const {row} = this.#details;
    const mode = this.#live?.mode;
    const asked = this.state();
    const facts = [
      [t("dialog.device"), `${this.name}`], [t("dialog.hostid"), row.hostid], [t("dialog.command"), this.#label(info)],
      [t("dialog.now"), [mode ? t(`mode.${mode}`) : t("mode.unknown"), this.#live?.engine_state ? titled(this.#live.engine_state) : t("turns.unknown")].join(" · ")],
    ];
    const text = [
      h("dl", {class: "facts"}, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
      DANGEROUS.has(info.name) ? h("p", {class: "caution"}, icon("warning"), h("span", {}, tOr(`caution.${info.name}`, t("caution.any")))) : null,
      info.only_in_mode && mode !== info.only_in_mode ? h("p", {class: "caution"}, icon("warning"), h("span", {}, t("caution.only_in_mode", {mode: t(`mode.${info.only_in_mode}`)}))) : null,
    ];
    const yes = await confirm({title: t("dialog.title", {command: this.#label(info), device: this.name}), text, yes: t("dialog.send", {command: this.#label(info)}), danger: DANGEROUS.has(info.name), signal: this.signal});
    if (yes) await this.sendIf(asked, {kind: "named", name: info.name});
  }

  /** Send something and follow it to its end. Also for other parts of the page. */
  async send(body) {
    this.#asking = true;
    this.#problem = null;
    this.#sent = {body, after: this.#last?.number ?? 0, since: this.#fleet.now() - SKEW_MS};
    this.told = null;
    put(this.outcome, h("p", {class: "muted"}, icon("wait"), t("control.asking")));
    let command;
    try {
      command = await api.sendCommand(this.#details.row.hostid, body);
    } catch (error) {
      if (!(error instanceof api.Refused || error instanceof api.NoAnswer)) throw error;
      // The stream may have told of it before.
      if (error instanceof api.Refused || !this.#isSent(this.#last)) this.#problem = error;
      this.#tell();
      return;
    } finally {
      this.#asking = false;
    }
    // From here on it is known to be on its way: whatever goes wrong now says nothing about it.
    if (this.#last?.number !== command.number) this.#last = command;
    this.#tell();
    this.element.scrollIntoView({block: "nearest"});
    await this.#follow(command.number);
  }

  /** The stream tells of every change; this is for the case that it is down just now. It was accepted in any case. */
  async #follow(number) {
    let [pause, longest] = PAUSES_MS;
    while (!this.signal.aborted && this.#last?.number === number) {
      try {
        const command = await api.command(number, WAIT_S, this.signal);
        if (command?.number !== number) throw new api.NoAnswer("the answer is another");
        if (this.#last.number === number) this.changed({...command, confirmed: command.confirmed ?? this.#last.confirmed});
        if (command.outcome !== null) return;
        [pause] = PAUSES_MS;
      } catch (error) {
        if (error.name === "AbortError") return;
        if (!(error instanceof api.Refused || error instanceof api.NoAnswer)) throw error;
        if (this.#last.outcome !== null) return;
        await new Promise((resolve) => setTimeout(resolve, pause));
        pause = Math.min(pause * 2, longest);
      }
    }
  }

  /** There was a gap in the stream: how does the last command stand? */
  catchUp() {
    if (this.#last && (verdict(this.#last) === "wait" || this.#last.confirmed === null)) this.#follow(this.#last.number);
  }

  #tick() {
    if (this.#last && (verdict(this.#last) === "wait" || watching(this.#last, this.#fleet.now() - 2000))) this.#tell();
  }

  #tell() {
    if (this.#problem) {
      const unknown = this.#problem instanceof api.NoAnswer;
      const why = typeof this.#problem === "string" ? this.#problem : tOr(`code.${this.#problem.code}`, this.#problem.message);
      if (this.told === this.#problem) return;
      this.told = this.#problem;
      put(this.outcome, h("p", {class: `tag o-${unknown ? "unknown" : "no"}`}, icon(unknown ? "unknown" : "no"),
        h("span", {}, unknown ? t("control.no_answer") : t("control.not_sent", {why}))));
      return;
    }
    const command = this.#last;
    if (!command) return;
    const info = this.#details.commands.find((one) => one.name === command.name);
    const cancel = verdict(command) === "wait" && command.sent_at === null && may("operator")
      ? h("button", {class: "small", on: {click: () => this.#cancel(command.number)}}, t("control.cancel")) : null;
    const key = JSON.stringify([command, watching(command, this.#fleet.now())]);
    if (key === this.told) return;
    this.told = key;
    put(this.outcome, h("h3", {}, t("control.last", {command: commandName(command, this.#details.commands), time: clock(command.accepted_at)})),
      steps(command, this.#fleet.now(), info ? info.confirmable : command.kind === "reset"), cancel);
  }

  async #cancel(number) {
    try {
      this.changed(await api.cancelCommand(number));
    } catch (error) {
      if (!(error instanceof api.Refused || error instanceof api.NoAnswer)) throw error;
      // Too late: how it goes on is told anyway.
    }
  }
}
