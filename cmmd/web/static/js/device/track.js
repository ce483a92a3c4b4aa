// What became of the command that was asked for here last, and of a newer one that somebody else has asked for.

import * as api from "../api.js";
import {Backoff, pause} from "../backoff.js";
import {notice} from "../dialog.js";
import {clock} from "../format.js";
import {h, icon, mark, put} from "../dom.js";
import {t} from "../i18n.js";
import {may} from "../session.js";
import {why} from "../why.js";
import {commandName, outcomeTag, recordedTag, steps, verdict, watching} from "./outcome.js";

const WAIT_S = 50;
const FIRST_PAUSE_MS = 1000; // between attempts to follow a command
const LONGEST_PAUSE_MS = 30_000;
const LOOKS_MS = [1000, 2000, 4000, 8000, 15_000]; // before each look for a command that had no answer
const KEPT_MS = 300_000; // one's own command stays for so long after its end
const SLOW_MS = 400;
const GIVE_WAY_MS = 1000; // without an answer to Stop, until it gets the connection of the page's stream

export class Track {
  /** Whether the page asks the daemon for a command just now, or how the genset is before that. */
  busy = false;
  #fleet;
  #device;
  #signal;
  #loud;
  #last = null;
  #problem = null; // why the command asked for last was not sent: an error, or a text
  #anyway = null; // a button beside that
  #unknown = false; // whether that under the key had no answer, and was not found since
  #failedAt = null;
  #key = null; // under which the last was asked for
  #mine = null; // the number of the last that was asked for here
  #following = null; // the number of the one that is asked about until its end
  #other = null; // somebody else's that is newer than what is shown

  /** `device()`: gives its details; `signal`: ends with the page; `loud`: of Stop, whose failure nobody may overlook. */
  constructor({fleet, device, signal, loud = false}) {
    this.#fleet = fleet;
    this.#device = device;
    this.#signal = signal;
    this.#loud = loud;
    this.element = h("div", {class: loud ? "stop-outcome" : "outcome", role: "status", "aria-live": "polite"});
  }

  /** A command of this device has changed. One's own is known by its number, which its answer tells, or its key. */
  changed(command) {
    if (command.number === this.#last?.number) this.#last = {...command, confirmed: command.confirmed ?? this.#last.confirmed};
    else if (command.number < (this.#last?.number ?? 0) || command.number < (this.#other?.number ?? 0)) return;
    else if (this.busy || this.#problem || this.#unknown || this.#keeps()) this.#other = command;
    else this.#take(command);
    if (!this.busy) this.#tell();
  }

  /** A newer command is shown elsewhere: what is over here is of no interest any more. */
  retire(number) {
    if (this.busy || this.#unknown || !this.#last || this.#last.number > number || this.#last.outcome === null || this.#keeps()) return;
    [this.#last, this.#other, this.#problem] = [null, null, null];
    this.#tell();
  }

  #take(command) {
    this.#last = command;
    if (this.#other && this.#other.number <= command.number) this.#other = null;
  }

  /** Whether what is shown is our own, and not long over. */
  #keeps() {
    return this.#last !== null && this.#last.number === this.#mine && (this.#last.outcome === null || this.#fleet.now() - this.#last.ended_at < KEPT_MS);
  }

  /** The page asks how the genset is, until what this gives is called. */
  look() {
    this.busy = true;
    const slow = setTimeout(() => {
      this.told = null;
      put(this.element, h("p", {class: "muted"}, icon("wait"), t("control.looking")));
    }, SLOW_MS);
    return () => {
      clearTimeout(slow);
      this.busy = false;
    };
  }

  /** Say why nothing was sent; null: nothing speaks against it. `anyway`: a button beside that. */
  refuse(problem, anyway = null) {
    this.#problem = problem;
    this.#anyway = anyway;
    this.#tell();
    if (problem !== null) this.element.scrollIntoView({block: "nearest"});
  }

  /**
   * Send something once and follow it to its end. `refused(error)`: gives a button for what may be done instead, or null.
   *
   * @param {any} body
   * @param {(error: any) => any} [refused]
   */
  async send(body, refused = () => null) {
    const key = api.newKey();
    const {hostid} = this.#device().row;
    const ours = () => this.#key === key; // nobody has sent something else meanwhile
    this.busy = true;
    [this.#problem, this.#anyway, this.#unknown, this.#key, this.told] = [null, null, false, key, null];
    put(this.element, h("p", {class: "muted"}, icon("wait"), t(this.#loud ? "stop.asking" : "control.asking")));
    let command;
    try {
      const ask = () => api.sendCommand(hostid, body, {key, now: this.#fleet.now()});
      command = await (this.#loud ? this.#fleet.giveWay(ask, GIVE_WAY_MS) : ask());
    } catch (error) {
      if (!(error instanceof api.Refused || error instanceof api.NoAnswer)) throw error;
      if (!ours()) return;
      this.busy = false;
      this.#failedAt = this.#fleet.now();
      this.#unknown = error instanceof api.NoAnswer;
      if (!this.#unknown) this.#problem = error;
      this.#anyway = this.#unknown ? null : refused(error);
      this.#tell();
      if (this.#loud) this.#shout();
      if (this.#unknown) await this.#find(key, hostid);
      return;
    } finally {
      if (ours()) this.busy = false;
    }
    if (ours()) await this.#found(command);
    else this.changed(command);
  }

  /** It must be read: where the page is gone meanwhile, in a window of its own. */
  #shout() {
    this.element.scrollIntoView({block: "center"});
    if (this.#signal.aborted)
      notice({
        title: t("stop.failed", {device: this.#device().row.hostname || this.#device().row.hostid}),
        text: this.#failures().map(([, text]) => h("p", {}, text)),
      });
  }

  /** What went wrong: [which mark, text] of each. */
  #failures() {
    const [notSent, noAnswer] = this.#loud ? ["stop.not_sent", "stop.no_answer"] : ["control.not_sent", "control.no_answer"];
    const found = [];
    const time = clock(this.#failedAt);
    if (this.#problem) found.push(["no", t(notSent, {time, why: typeof this.#problem === "string" ? this.#problem : why(this.#problem)})]);
    if (this.#unknown) found.push(["unknown", t(noAnswer, {time})]);
    return found;
  }

  /** There was no answer: whether it was accepted is known once it is found under its key, and only then. */
  async #find(key, hostid) {
    for (const wait_ms of LOOKS_MS) {
      await pause(wait_ms);
      if (await this.#seek(key, hostid)) return;
    }
  }

  /** Look for it once. True: there is nothing to look for any more. */
  async #seek(key, hostid) {
    const over = () => this.#signal.aborted || this.#key !== key || !this.#unknown;
    if (over()) return true;
    try {
      const command = await api.commandUnder(key, hostid, this.#signal);
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
    const backoff = new Backoff(FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
    while (!this.#signal.aborted && this.#last?.number === number) {
      try {
        const command = await api.command(number, WAIT_S, this.#signal);
        if (command?.number !== number) throw new api.NoAnswer("the answer is another");
        if (this.#last?.number === number) this.changed(command);
        if (command.outcome !== null) return;
        backoff.reset();
      } catch (error) {
        if (error.name === "AbortError") return;
        if (!(error instanceof api.Refused || error instanceof api.NoAnswer)) throw error;
        if (this.#last?.outcome !== null) return;
        await pause(backoff.next());
      }
    }
  }

  /** There was a gap in the stream: how does the last command stand? */
  catchUp() {
    if (this.#unknown) this.#seek(this.#key, this.#device().row.hostid);
    if (this.#last && (verdict(this.#last) === "wait" || this.#last.confirmed === null)) this.#follow(this.#last.number);
  }

  tick() {
    if (this.#other && !this.busy && !this.#problem && !this.#unknown && !this.#keeps()) this.#take(this.#other);
    if (this.busy) return;
    if (this.#other || (this.#last && (verdict(this.#last) === "wait" || watching(this.#last, this.#fleet.now() - 2000)))) this.#tell();
  }

  #tell() {
    // What is under way is told on, whatever else is refused; older ones would look like an answer.
    const command = this.#last;
    const infos = this.#device().commands;
    const failures = this.#failures();
    const running = !this.#unknown && command?.number === this.#mine && command?.outcome === null;
    const shown = command && (!failures.length || running);
    const key = JSON.stringify([failures, this.#anyway?.textContent, shown && [command, watching(command, this.#fleet.now())], this.#other]);
    if (key === this.told) return;
    this.told = key;
    const lines = failures.map(([what, text], place) =>
      h("p", {class: `tag o-${what}`, role: this.#loud ? "alert" : null}, icon(this.#loud ? "alarm" : what), h("span", {}, text), place ? null : this.#anyway),
    );
    mark(this.element, "data-bad", failures.length || (shown && ["no", "unknown", "none"].includes(verdict(command))) ? "" : null);
    put(this.element, lines, shown ? this.#record(command, infos) : null, this.#others(infos));
  }

  #record(command, infos) {
    const info = infos.find((one) => one.name === command.name);
    const cancel =
      verdict(command) === "wait" && command.sent_at === null && may("operator") && !this.#loud
        ? h("button", {class: "small", on: {click: () => this.#cancel(command.number)}}, t("control.cancel"))
        : null;
    return [
      h("h3", {}, t("control.last", {command: commandName(command, infos), time: clock(command.accepted_at)})),
      command.requester ? h("p", {class: "muted"}, t("control.by", {name: command.requester})) : null,
      steps(command, this.#fleet.now(), info ? info.confirmable : command.kind === "reset"),
      cancel,
    ];
  }

  /** A line about what somebody else has asked for since. */
  #others(infos) {
    const other = this.#other;
    if (!other) return null;
    return h(
      "p",
      {class: "muted others"},
      t("control.other", {command: commandName(other, infos), time: clock(other.accepted_at), name: other.requester}),
      " ",
      outcomeTag(other),
      " ",
      recordedTag(other),
    );
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
