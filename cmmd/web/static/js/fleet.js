// The fleet as the page knows it: a row of each device, kept up to date by the stream.

import {NoAnswer, Refused, fleet as fetchFleet, status, whenUnanswered} from "./api.js";
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
  /** Whether the stream stands, and requests are answered; null: not known yet, or nobody looks. */
  linked = null;
  /** When the daemon was heard last, by this browser's clock. */
  heardAt = null;
  /** The device that is followed; null: all; undefined: nothing is. */
  followed = undefined;
  #skew = 0;
  #measured = false; // the skew, since the stream was opened
  #columns = [];
  #stream = null;
  #alarms = null;
  #asking = 0;
  #doubting = false;
  #resting = false;

  constructor() {
    super();
    whenUnanswered(() => this.#doubt());
  }

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
    if (this.followed !== hostid) this.#alarms = this.linked ? this.openAlarms : null;
    this.linked = null;
    this.followed = hostid;
    this.#stream = new Stream({
      parameters: {hostid, live: true, commands: true},
      opened: (signal) => this.#opened(signal),
      take: (event) => this.#take(event),
      heard: () => {
        this.heardAt = Date.now();
      },
      linked: (linked) => this.#link(linked),
    });
    if (this.#resting) this.#stream.rest();
    this.dispatchEvent(new CustomEvent("link"));
  }

  stop() {
    clearInterval(this.#asking);
    this.#stream?.stop();
    this.#stream = null;
    this.followed = undefined;
    this.linked = null;
  }

  hurry() {
    this.#resting = false;
    this.#stream?.hurry();
  }

  /** Nobody looks: hold no connection until hurry(). */
  rest() {
    this.#resting = true;
    this.#stream?.rest();
  }

  /**
   * Ask for something that must not wait for a connection: a browser has six to a host, and others may hold all of them.
   * Where no answer has come after so long, the stream gives its own away until one has.
   */
  async giveWay(ask, after_ms) {
    let gave = false;
    const timer = setTimeout(() => {
      gave = !this.#resting;
      if (gave) this.rest();
    }, after_ms);
    try {
      return await ask();
    } finally {
      clearTimeout(timer);
      if (gave && !document.hidden) this.hurry();
    }
  }

  /** A request had no answer. That of a stream which stands says nothing: is another one answered? */
  async #doubt() {
    if (this.#doubting || this.#resting || !this.linked) return;
    this.#doubting = true;
    const stream = this.#stream;
    try {
      await status();
    } catch (error) {
      if (!(error instanceof NoAnswer || error instanceof Refused)) throw error;
      if (error instanceof NoAnswer && stream === this.#stream) stream?.again();
    } finally {
      this.#doubting = false;
    }
  }

  /** How many alarms are open, of all devices; null: not known. */
  get openAlarms() {
    if (this.followed !== null) return this.#alarms;
    if (!this.complete) return null;
    let sum = 0;
    for (const row of this.rows.values()) sum += row.alarms;
    return sum;
  }

  async #opened(signal) {
    this.#measured = false;
    if (this.followed === null) {
      // The rows of before stay until the new ones are all there; where there are none, the first are shown at once.
      const first = !this.complete;
      const fresh = first ? this.rows : new Map();
      await fetchFleet((rows, head) => {
        this.#columns = head.columns;
        this.#clock(head.now);
        for (const values of rows) {
          const row = this.#row(values);
          fresh.set(row.hostid, row);
        }
        if (first) this.#recount();
      }, signal);
      this.rows = fresh;
      this.complete = true;
    }
    if (this.followed !== null) {
      // The daemon may have begun anew, and its numbers of uploads with it: whatever it says of the device is newer.
      const row = this.rows.get(this.followed);
      if (row) this.rows.set(row.hostid, {...row, upload: 0});
      const unheard = await this.#askAlarms(signal);
      if (unheard) throw unheard;
    }
    this.#count();
    this.heardAt = Date.now();
    this.dispatchEvent(new CustomEvent("all"));
  }

  /** Who follows one device is not told of others: their alarms are asked for now and then. */
  async #askAlarms(signal) {
    let unheard = null;
    try {
      this.#alarms = Object.values((await status(signal)).alarms).reduce((sum, one) => sum + one, 0);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      if (error instanceof NoAnswer) unheard = error;
      else if (!(error instanceof Refused)) console.error(error);
      this.#alarms = null;
    }
    this.dispatchEvent(new CustomEvent("alarms"));
    return unheard;
  }

  /** What the daemon's clock said when it wrote something: that is some time ago, how long nobody knows. */
  #clock(now) {
    const skew = now - Date.now();
    this.#skew = this.#measured ? Math.max(this.#skew, skew) : skew;
    this.#measured = true;
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

  /** A device is known no more. */
  #forget(hostid) {
    const row = this.rows.get(hostid);
    if (!row) return;
    this.rows.delete(hostid);
    this.counts[row.state]--;
    this.dispatchEvent(new CustomEvent("all"));
  }

  #take({event, data}) {
    const news = JSON.parse(data);
    if (event === "live") {
      // What was on its way while the fleet was fetched may be older than that.
      const rows = news.rows.map((values) => this.#row(values)).filter((row) => row.upload >= (this.rows.get(row.hostid)?.upload ?? 0));
      for (const row of rows) this.#set(row);
      this.dispatchEvent(new CustomEvent("rows", {detail: rows}));
    } else if (event === "ready") {
      this.#columns = news.columns;
      this.#clock(news.now);
    } else if (event === "command" || event === "event") {
      if (news.kind === "device_forgotten") this.#forget(news.hostid);
      this.dispatchEvent(new CustomEvent(event, {detail: news}));
    } else if (event === "missed") {
      this.dispatchEvent(new CustomEvent("all"));
    }
  }
}
