// Who can register now, and how many devices wait: what every page says of it to those who may look.

import {NoAnswer, Refused, status} from "./api.js";
import {throttled} from "./dom.js";

const ASK_MS = 30_000;
const SOON_MS = 3000; // between two questions, however many devices come

/** Whether an event says that something about it has changed. */
export const concerns = ({kind}) => kind.startsWith("enrolment_") || kind === "device_registered" || kind === "device_forgotten";

/** Asks the daemon, and tells with "change" that `policy` (null: not known), `waiting` or `devices` are others. */
export class EnrolmentWatch extends EventTarget {
  policy = null;
  waiting = 0;
  devices = 0;
  #abort = new AbortController();
  #timer;

  constructor(fleet) {
    super();
    const {signal} = this.#abort;
    this.soon = throttled(SOON_MS, () => this.#ask());
    fleet.addEventListener("event", ({detail}) => concerns(detail) && this.soon(), {signal});
    fleet.addEventListener("link", () => fleet.linked && this.soon(), {signal});
    this.#timer = setInterval(() => document.hidden || this.soon(), ASK_MS);
    this.soon();
  }

  /** Whether the door is open although modules are in: then it is to be closed. */
  get open() {
    return this.policy === "open" && this.devices > 0;
  }

  close() {
    this.#abort.abort();
    clearInterval(this.#timer);
    this.soon.cancel();
  }

  async #ask() {
    try {
      const now = await status(this.#abort.signal);
      Object.assign(this, {policy: now.enrolment, waiting: now.waiting, devices: now.devices});
      this.dispatchEvent(new CustomEvent("change"));
    } catch (error) {
      // What was known last stays: the next answer is soon, and the page says by itself where there is none.
      if (!(error.name === "AbortError" || error instanceof NoAnswer || error instanceof Refused)) throw error;
    }
  }
}
