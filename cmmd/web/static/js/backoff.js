// How long to wait before the next attempt; cmmd/backoff.py is the daemon's side of the same rule.

/** Jittered exponential back-off: each wait is between half a step and a step, and steps double up to the longest. */
export class Backoff {
  #first_ms;
  #longest_ms;
  #step_ms;

  constructor(first_ms, longest_ms) {
    this.#first_ms = first_ms;
    this.#longest_ms = longest_ms;
    this.#step_ms = first_ms;
  }

  /** Milliseconds to wait before the next attempt. */
  next() {
    const wait_ms = this.#step_ms * (0.5 + Math.random() / 2);
    this.#step_ms = Math.min(this.#step_ms * 2, this.#longest_ms);
    return wait_ms;
  }

  /** Start over: the last attempt was a success. */
  reset() {
    this.#step_ms = this.#first_ms;
  }

  /** Make the next waits the longest: trying again soon would not help. */
  slow() {
    this.#step_ms = this.#longest_ms;
  }
}

/** Wait for some milliseconds. */
export function pause(ms) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
