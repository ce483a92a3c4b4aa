// Modes, engine, breakers: buttons, a question before each, and what became of the last command.

import * as api from "../api.js";
import {confirm} from "../dialog.js";
import {clock} from "../format.js";
import {h, icon, mark, put} from "../dom.js";
import {t, tOr, titled} from "../i18n.js";
import {may} from "../session.js";
import {why} from "../why.js";
import {commandName, outcomeTag, steps, verdict, watching} from "./outcome.js";

const GROUPS = [["mode", ["auto", "manual", "test"]], ["engine", ["start", "stop"]], ["breakers", ["mains_breaker_toggle", "generator_breaker_toggle", "generator_breaker_open", "generator_breaker_close"]]];
const DANGEROUS = new Set(["start", "test", "auto", "generator_breaker_toggle", "mains_breaker_toggle", "generator_breaker_open", "generator_breaker_close"]);
const WAIT_S = 50;
const PAUSES_MS = [1000, 30_000]; // between attempts to follow a command: the first, and the longest
const LOOKS_MS = [1000, 2000, 4000, 8000, 15_000]; // before each look for a command that had no answer
const LINK_MS = 3000; // to wait for the stream, which a page that was just opened has not yet
const KEPT_MS = 300_000; // one's own command stays for so long after its end
const SLOW_MS = 400;

export class Control {
  #fleet;
  #details = null;
  #live = null;
  #status = null;
  #buttons = new Map();
  #last = null;
  #asking = false;
  #problem = null; // why the command asked for last was not sent: an error, or a text
  #unknown = false; // whether that under the key had no answer, and was not found since
  #key = null; // under which the last was asked for
  #mine = null; // the number of the last that was asked for here
  #following = null; // the number of the one that is asked about until its end
  #other = null; // somebody else's that is newer than what is shown
  #fresh;
  #abort = new AbortController();

  /** `fresh()`: asks how the device is, and has it shown here before it resolves. */
  constructor(fleet, fresh) {
    this.#fleet = fleet;
    this.#fresh = fresh;
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
    const offered = (one) => JSON.stringify([one?.commands.map(({name}) => name), one?.withheld]);
    const names = offered(details);
    const before = offered(this.#details);
    this.#details = details;
    this.#live = live;
    if (names !== before) this.#build();
    this.#settle();
  }

  /** A command of this device has changed. One's own is known by its number, which its answer tells, or its key. */
  changed(command) {
    if (command.number === this.#last?.number) this.#last = {...command, confirmed: command.confirmed ?? this.#last.confirmed};
    else if (command.number < (this.#last?.number ?? 0) || command.number < (this.#other?.number ?? 0)) return;
    else if (this.#asking || this.#problem || this.#unknown || this.#keeps()) this.#other = command;
    else this.#take(command);
    if (!this.#asking) this.#tell();
  }

  #take(command) {
    this.#last = command;
    if (this.#other && this.#other.number <= command.number) this.#other = null;
  }

  /** Whether what is shown is our own, and not long over. */
  #keeps() {
    return this.#last !== null && this.#last.number === this.#mine
      && (this.#last.outcome === null || this.#fleet.now() - this.#last.ended_at < KEPT_MS);
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

  /** The state, as the daemon has it now, that somebody is asked about; null: nothing can be sent, and he is told why. */
  async prepare() {
    if (this.#asking) return null;
    return (await this.#look()) ? this.state() : null;
  }

  /** Send something that was asked about in this state; not where that is over. */
  async sendIf(asked, body) {
    if (!this.#asking && await this.#look(asked)) await this.send(body);
  }

  /** Ask how things are: whether something can be sent, and whether they are as they were when somebody was asked. */
  async #look(asked = null) {
    this.#asking = true;
    const slow = setTimeout(() => {
      this.told = null;
      put(this.outcome, h("p", {class: "muted"}, icon("wait"), t("control.looking")));
    }, SLOW_MS);
    let hindrance;
    try {
      hindrance = await this.#hindrance();
    } catch (error) {
      if (error.name === "AbortError") return false; // the page is gone
      throw error;
    } finally {
      clearTimeout(slow);
      this.#asking = false;
    }
    if (this.signal.aborted) return false;
    hindrance ??= asked === null || this.state() === asked ? null : t("why.changed");
    this.#problem = hindrance;
    this.#tell();
    if (hindrance === null) return true;
    this.element.scrollIntoView({block: "nearest"});
    return false;
  }

  async #hindrance() {
    if (!may("operator")) return t("why.role");
    await this.#linked();
    try {
      await this.#fresh();
    } catch (error) {
      if (error instanceof api.NoAnswer) return t("why.unheard");
      if (error instanceof api.Refused) return why(error);
      throw error;
    }
    const reason = this.reason();
    if (reason !== null) return reason;
    if (this.#fleet.linked !== true) return t("why.unlinked");
    return this.#live.stale ? t("why.old") : null;
  }

  /** Wait a little for the connection, where there is none. */
  #linked() {
    if (this.#fleet.linked === true) return null;
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#fleet.removeEventListener("link", look);
        resolve();
      };
      const look = () => this.#fleet.linked && done();
      const timer = setTimeout(done, LINK_MS);
      this.#fleet.addEventListener("link", look);
    });
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
    const withheld = Object.keys(this.#details.withheld);
    if (withheld.length) this.groups.append(h("p", {class: "muted withheld"}, t(infos.size ? "control.withheld_some" : "control.withheld", {commands: withheld.map((name) => tOr(`command.${name}`, name)).join(", ")})));
    else if (!infos.size) put(this.groups, h("p", {class: "muted"}, t("control.none")));
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
      const on = this.#live?.mode === name && this.#live.online && !this.#live.stale;
      mark(button, "data-on", on ? "" : null);
      mark(button, "aria-current", on ? "true" : null);
    }
  }

  async #ask(info) {
    if (this.reason() !== null || this.#asking) return;
    const asked = await this.prepare();
    if (asked === null) return;
    const {row} = this.#details;
    const mode = this.#live?.mode;
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
    const key = api.newKey();
    const {hostid} = this.#details.row;
    this.#asking = true;
    this.#problem = null;
    this.#unknown = false;
    this.#key = key;
    this.told = null;
    put(this.outcome, h("p", {class: "muted"}, icon("wait"), t("control.asking")));
    let command;
    try {
      command = await api.sendCommand(hostid, body, {key, now: this.#fleet.now()});
    } catch (error) {
      if (!(error instanceof api.Refused || error instanceof api.NoAnswer)) throw error;
      this.#asking = false;
      this.#unknown = error instanceof api.NoAnswer;
      if (!this.#unknown) this.#problem = error;
      this.#tell();
      if (this.#unknown) await this.#find(key, hostid);
      return;
    } finally {
      this.#asking = false;
    }
    await this.#found(command);
  }

  /** There was no answer: whether it was accepted is known once it is found under its key, and only then. */
  async #find(key, hostid) {
    for (const pause of LOOKS_MS) {
      await new Promise((resolve) => setTimeout(resolve, pause));
      if (await this.#seek(key, hostid)) return;
    }
  }

  /** Look for it once. True: there is nothing to look for any more. */
  async #seek(key, hostid) {
    const over = () => this.signal.aborted || this.#key !== key || !this.#unknown;
    if (over()) return true;
    try {
      const command = await api.commandUnder(key, hostid, this.signal);
      if (over()) return true;
      if (command === null) return false;
      this.#unknown = false;
      this.#found(command);
      return true;
    } catch (error) {
      if (error.name === "AbortError") return true;
      if (!(error instanceof api.Refused || error instanceof api.NoAnswer)) throw error;
      return false;
    }
  }

  /** This is the record of what was asked for last. From here on whatever goes wrong says nothing about it. */
  async #found(command) {
    this.#mine = command.number;
    // The stream may have told of it before, and of its end.
    if (this.#other?.number === command.number) [command, this.#other] = [this.#other, null];
    if (this.#last?.number !== command.number) this.#take(command);
    this.#tell();
    this.element.scrollIntoView({block: "nearest"});
    await this.#follow(command.number);
  }

  /** The stream tells of every change; this is for the case that it is down just now. It was accepted in any case. */
  async #follow(number) {
    if (this.#following === number) return;
    this.#following = number;
    try {
      await this.#until(number);
    } finally {
      if (this.#following === number) this.#following = null;
    }
  }

  async #until(number) {
    let [pause, longest] = PAUSES_MS;
    while (!this.signal.aborted && this.#last?.number === number) {
      try {
        const command = await api.command(number, WAIT_S, this.signal);
        if (command?.number !== number) throw new api.NoAnswer("the answer is another");
        if (this.#last.number === number) this.changed(command);
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
    if (this.#unknown) this.#seek(this.#key, this.#details.row.hostid);
    if (this.#last && (verdict(this.#last) === "wait" || this.#last.confirmed === null)) this.#follow(this.#last.number);
  }

  #tick() {
    if (this.#other && !this.#asking && !this.#problem && !this.#unknown && !this.#keeps()) this.#take(this.#other);
    if (this.#asking) return;
    if (this.#other || this.#last && (verdict(this.#last) === "wait" || watching(this.#last, this.#fleet.now() - 2000))) this.#tell();
  }

  #tell() {
    // What is under way is told on, whatever else is refused; older ones would look like an answer.
    const problem = this.#problem || this.#unknown;
    const running = !this.#unknown && this.#last?.number === this.#mine && this.#last?.outcome === null;
    const lines = [];
    if (problem) {
      const reason = this.#problem && (typeof this.#problem === "string" ? this.#problem : why(this.#problem));
      const line = (what, text) => h("p", {class: `tag o-${what}`}, icon(what), h("span", {}, text));
      if (reason) lines.push(line("no", t("control.not_sent", {why: reason})));
      if (this.#unknown) lines.push(line("unknown", t("control.no_answer")));
      if (!running) {
        const key = JSON.stringify([this.#unknown, reason, this.#other]);
        if (key === this.told) return;
        this.told = key;
        put(this.outcome, lines, this.#others());
        return;
      }
    }
    const command = this.#last;
    if (!command) {
      if (this.told !== "") put(this.outcome); // what stood there is over
      this.told = "";
      return;
    }
    const info = this.#details.commands.find((one) => one.name === command.name);
    const cancel = verdict(command) === "wait" && command.sent_at === null && may("operator")
      ? h("button", {class: "small", on: {click: () => this.#cancel(command.number)}}, t("control.cancel")) : null;
    const key = JSON.stringify([command, watching(command, this.#fleet.now()), this.#other, lines.map((one) => one.textContent)]);
    if (key === this.told) return;
    this.told = key;
    put(this.outcome, lines, h("h3", {}, t("control.last", {command: commandName(command, this.#details.commands), time: clock(command.accepted_at)})),
      command.requester ? h("p", {class: "muted"}, t("control.by", {name: command.requester})) : null,
      steps(command, this.#fleet.now(), info ? info.confirmable : command.kind === "reset"), cancel, this.#others());
  }

  /** A line about what somebody else has asked for since. */
  #others() {
    const other = this.#other;
    if (!other) return null;
    return h("p", {class: "muted others"}, t("control.other", {command: commandName(other, this.#details.commands), time: clock(other.accepted_at), name: other.requester}), " ", outcomeTag(other));
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
