// The fleet as the page knows it: a row of each device, kept up to date by the stream.

import {NoAnswer, Refused, fleet as fetchFleet, status} from "./api.js";
import {throttled} from "./dom.js";
import {Stream} from "./stream.js";

const ALARMS_MS = 20_000;

export const STATES = ["alarm", "running", "standby", "unknown", "offline"];

/**
 * Rows, counts, and the link to the daemon.
 *
 * Events: "all" (everything was fetched anew), "rows" (detail: rows that have changed), "event" and "command" (detail:
 * the record), "link". What is followed depends on the page: all devices, or one of them, which costs a phone less.
 */
export class Fleet extends EventTarget {
  rows = new Map();
  counts = Object.fromEntries(STATES.map((state) => [state, 0]));
  /** Whether all devices have come. */
  complete = false;
  /** Whether the stream stands; null: not known yet. */
  linked = null;
  /** When the daemon was heard last, by this browser's clock. */
  heardAt = null;
  /** The device that is followed; null: all; undefined: nothing is. */
  followed = undefined;
  #skew = 0;
  #columns = [];
  #stream = null;
  #alarms = 0;
  #asking = 0;

  /** The daemon's clock, in milliseconds. */
  now() {
    return Date.now() + this.#skew;
  }

  /** Follow all devices, or one. */
  follow(hostid = null) {
    if (this.followed === hostid && this.#stream) return;
    this.#stream?.stop();
    clearInterval(this.#asking);
    if (hostid !== null) this.#asking = setInterval(() => document.hidden || this.#askAlarms(), ALARMS_MS);
    this.followed = hostid;
    this.#stream = new Stream({
      parameters: {hostid, live: true, commands: true},
      opened: (signal) => this.#opened(signal),
      take: (event) => this.#take(event),
      linked: (linked) => this.#link(linked),
    });
  }

  stop() {
    clearInterval(this.#asking);
    this.#stream?.stop();
    this.#stream = null;
    this.followed = undefined;
    this.linked = null;
  }

  hurry() {
    this.#stream?.hurry();
  }

  /** How many alarms are open, of all devices. */
  get openAlarms() {
    if (this.followed !== null) return this.#alarms;
    let sum = 0;
    for (const row of this.rows.values()) sum += row.alarms;
    return sum;
  }

  async #opened(signal) {
    if (this.followed === null) {
      // The rows of before stay until the new ones are all there; where there are none, the first are shown at once.
      const first = !this.complete;
      const fresh = first ? this.rows : new Map();
      await fetchFleet((rows, head) => {
        this.#columns = head.columns;
        this.#skew = head.now - Date.now();
        for (const values of rows) {
          const row = this.#row(values);
          fresh.set(row.hostid, row);
        }
        if (first) this.#recount();
      }, signal);
      this.rows = fresh;
      this.complete = true;
    }
    if (this.followed !== null) this.#askAlarms();
    this.#count();
    this.heardAt = Date.now();
    this.dispatchEvent(new CustomEvent("all"));
  }

  /** Who follows one device is not told of others: their alarms are asked for now and then. */
  async #askAlarms() {
    try {
      this.#alarms = Object.values((await status()).alarms).reduce((sum, one) => sum + one, 0);
      this.dispatchEvent(new CustomEvent("alarms"));
    } catch (error) {
      if (!(error instanceof NoAnswer || error instanceof Refused)) throw error;
    }
  }

  /** Count, and tell, a few times a second. */
  #recount = throttled(400, () => {
    this.#count();
    this.dispatchEvent(new CustomEvent("all"));
  });

  #count() {
    for (const state of STATES) this.counts[state] = 0;
    for (const row of this.rows.values()) this.counts[row.state]++;
  }

  #link(linked) {
    this.linked = linked;
    this.dispatchEvent(new CustomEvent("link"));
  }

  #row(values) {
    const row = {};
    for (let place = 0; place < this.#columns.length; place++) row[this.#columns[place]] = values[place];
    row.key = `${row.hostname}\n${row.hostid}\n${row.moduletype}`.toLowerCase();
    return row;
  }

  #set(row) {
    const before = this.rows.get(row.hostid);
    if (before) this.counts[before.state]--;
    this.counts[row.state]++;
    this.rows.set(row.hostid, row);
  }

  #take({event, data}) {
    this.heardAt = Date.now();
    const news = JSON.parse(data);
    if (event === "live") {
      // What was on its way while the fleet was fetched may be older than that.
      const rows = news.rows.map((values) => this.#row(values)).filter((row) => row.upload >= (this.rows.get(row.hostid)?.upload ?? 0));
      for (const row of rows) this.#set(row);
      this.dispatchEvent(new CustomEvent("rows", {detail: rows}));
    } else if (event === "ready") {
      this.#columns = news.columns;
      this.#skew = news.now - Date.now();
    } else if (event === "command" || event === "event") {
      this.dispatchEvent(new CustomEvent(event, {detail: news}));
    } else if (event === "missed") {
      this.dispatchEvent(new CustomEvent("all"));
    }
  }
}
