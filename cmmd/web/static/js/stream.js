// Server-sent events, read by fetch: unlike EventSource this sees heartbeats, and why it was refused.

import {NoAnswer, Refused, openStream} from "./api.js";
import {Backoff} from "./backoff.js";

const SILENCE_MS = 40_000; // the daemon sends a heartbeat well before
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

/** Cuts a stream of text into events: {event, data, id}. */
export class Cutter {
  #rest = "";
  #kind = "";
  #lines = [];
  #id = null;

  /** Take a piece of text; gives the events that are whole now. */
  take(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    const events = [];
    for (const line of lines) {
      if (line === "") {
        if (this.#lines.length) events.push({event: this.#kind || "message", data: this.#lines.join("\n"), id: this.#id});
        this.#kind = "";
        this.#lines = [];
      } else if (!line.startsWith(":")) {
        const colon = line.indexOf(":");
        const field = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
        if (field === "data") this.#lines.push(value);
        else if (field === "event") this.#kind = value;
        else if (field === "id") this.#id = value;
      }
    }
    return events;
  }
}

/**
 * Follows the news for as long as it is wanted, and comes back by itself.
 *
 * `parameters`: of the stream; `opened(signal)` is called when it stands, before anything is read of it, and fetches how
 * things are: so nothing falls between the two. `take(event)` gets each event, `heard()` is called with whatever comes;
 * `linked(true | false | null)` says whether there is a connection; null: none is wanted, for it rests.
 */
export class Stream {
  #parameters;
  #opened;
  #take;
  #linked;
  #heard;
  #stopped = false;
  #resting = false;
  #abort = null;
  #wake = null;

  constructor({parameters, opened, take, heard, linked}) {
    this.#parameters = parameters;
    this.#opened = opened;
    this.#take = take;
    this.#heard = heard;
    this.#linked = linked;
    this.#run();
  }

  stop() {
    this.#stopped = true;
    this.#abort?.abort();
    this.#wake?.();
  }

  /** Do not wait for the next attempt: the page is looked at again, or the network is back. */
  hurry() {
    this.#resting = false;
    this.#wake?.();
  }

  /** Hold no connection until hurry(): browsers have six of them to a host, for all tabs together. */
  rest() {
    this.#resting = true;
    this.#abort?.abort();
    this.#wake?.();
  }

  /** Begin anew: this connection is not to be relied on. */
  again() {
    this.#abort?.abort();
  }

  async #run() {
    const backoff = new Backoff(FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
    while (!this.#stopped) {
      if (this.#resting) {
        await new Promise((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      this.#abort = new AbortController();
      try {
        const answer = await openStream(this.#parameters, this.#abort.signal);
        await this.#opened(this.#abort.signal);
        await this.#read(answer, () => {
          backoff.reset();
          this.#linked(true);
        });
      } catch (error) {
        if (this.#stopped) return;
        if (!(error instanceof NoAnswer || error instanceof Refused || error.name === "AbortError")) {
          console.error(error); // ours; and no reason to tell nothing new for ever
          backoff.slow();
        }
      }
      this.#abort.abort();
      if (this.#stopped) return;
      this.#linked(this.#resting ? null : false);
      if (this.#resting) continue;
      await new Promise((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, backoff.next());
      });
      this.#wake = null;
    }
  }

  /** `begun`: call with the first bytes, for only then is there a connection. */
  async #read(answer, begun) {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    const cutter = new Cutter();
    for (;;) {
      const {value, done} = await this.#piece(reader);
      if (done) return;
      this.#heard();
      begun?.();
      begun = null;
      for (const event of cutter.take(value)) this.#take(event);
    }
  }

  async #piece(reader) {
    const timer = setTimeout(() => this.#abort.abort(), SILENCE_MS);
    try {
      return await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new NoAnswer(String(error));
    } finally {
      clearTimeout(timer);
    }
  }
}
