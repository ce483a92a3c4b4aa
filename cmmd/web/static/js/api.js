// The HTTP API: docs/api.md. The one module that knows its addresses.

import {RowCutter} from "./rowcutter.js";

const BASE = "/api/v1";

/** The daemon's answer was no: `code` for programs, `message` for people, `status` of HTTP. */
export class Refused extends Error {
  constructor(problem) {
    super(problem.detail || problem.title || `HTTP ${problem.status}`);
    this.code = problem.code ?? "unknown";
    this.status = problem.status;
    this.field = problem.field ?? null;
  }
}

/** There was no answer, or none that can be relied on. Of a write nobody knows whether it was done. */
export class NoAnswer extends Error {}

// How long an answer may take. A browser has six connections to a host: where all of them are held, a request waits for
// one of them, and would be sent whenever that is.
const READ_MS = 30_000;
const SOON_MS = 10_000; // what the daemon has at hand, and every write but one
const SIGN_IN_MS = 40_000; // a wrong token is answered up to 30 s late, on purpose

/** The command that nothing may hold up. */
export const STOP = "stop";

/** What everything else has, in every window: where a connection is waited for, the next one that is free is for Stop. */
const BEHIND = "low";

let csrf = null;
let onSignedOut = () => {};
let onUnanswered = () => {};

/** Whom to call when the daemon does not know (any more) who we are. */
export function whenSignedOut(call) {
  onSignedOut = call;
}

/** Whom to call when a request got no answer at all, or not in time. */
export function whenUnanswered(call) {
  onUnanswered = call;
}

/** A signal that ends with another one, or where nothing has come for so long. */
class Limit {
  #abort = new AbortController();
  #outer;
  #ms;
  #timer = null;
  #end = () => this.#abort.abort();

  constructor(ms, outer = null) {
    this.#ms = ms;
    this.#outer = outer;
    outer?.addEventListener("abort", this.#end);
    if (outer?.aborted) this.#end();
    this.again();
  }

  get signal() {
    return this.#abort.signal;
  }

  /** Something has come. */
  again() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#end, this.#ms);
  }

  /** It takes as long as it takes, from here on. */
  lift() {
    clearTimeout(this.#timer);
  }

  over() {
    this.lift();
    this.#outer?.removeEventListener("abort", this.#end);
  }

  /** What it means that something failed under this. */
  meaning(error) {
    if (this.#outer?.aborted) return new DOMException("nobody waits for it any more", "AbortError");
    onUnanswered();
    return new NoAnswer(this.signal.aborted ? "there was no answer in time" : String(error?.message ?? error));
  }
}

function query(parameters) {
  const given = Object.entries(parameters ?? {}).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}` : "";
}

/**
 * Ask the daemon.
 *
 * @param {string} method
 * @param {string} path below BASE
 * @param {{parameters?: object, body?: unknown, headers?: object, signal?: AbortSignal, priority?: RequestPriority, limit_ms?: number}} [options]
 */
async function ask(method, path, {parameters, body, headers, signal, priority = BEHIND, limit_ms = method === "GET" ? READ_MS : SOON_MS} = {}) {
  const sent = {Accept: "application/json", ...headers};
  if (csrf && method !== "GET") sent["X-CSRF-Token"] = csrf;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  const limit = new Limit(limit_ms, signal);
  let answer;
  let text;
  try {
    answer = await fetch(BASE + path + query(parameters), {
      method,
      headers: sent,
      signal: limit.signal,
      priority,
      credentials: "same-origin",
      cache: "no-cache",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    text = await answer.text();
  } catch (error) {
    throw limit.meaning(error);
  } finally {
    limit.over();
  }
  if (answer.ok) {
    const told = read(text);
    // The daemon has no result yet, or one that it may lose: what it will be is not told any more.
    if (method !== "GET" && answer.status === 202 && told?.recorded === false && told.number === undefined) throw new NoAnswer("not recorded yet");
    return told;
  }
  const error = refusal(answer.status, text);
  if (method !== "GET" && !surelyNot(answer, error)) throw new NoAnswer(`HTTP ${answer.status}: ${error.message}`);
  throw error;
}

function read(text) {
  if (!text) return null;
  try {
    return JSON.parse(text);
  } catch {
    throw new NoAnswer("the answer is not JSON"); // a proxy's page, not ours
  }
}

function refusal(status, text) {
  let problem = {status, title: text.slice(0, 200)};
  try {
    problem = {...JSON.parse(text), status};
  } catch {
    /* a proxy's page, not ours */
  }
  if (status === 401) onSignedOut();
  return new Refused(problem);
}

/** Whether this answer to a write says that nothing was done: a proxy's does not, and neither does an error in the daemon. */
function surelyNot(answer, {code, status}) {
  const ours = /^application\/problem\+json\b/i.test(answer.headers.get("Content-Type") ?? "") && code !== "unknown";
  return status === 401 || (ours && (status < 500 || code === "not_audited"));
}

const get = (path, parameters, signal, limit_ms) => ask("GET", path, {parameters, signal, limit_ms});
const of = (hostid) => `/devices/${encodeURIComponent(hostid)}`;

// --- who we are ----------------------------------------------------------------------------------------------------

function signedIn(session) {
  csrf = session?.csrf ?? null;
  return session;
}

export const session = async () => signedIn(await get("/session"));
export const signInByLink = async (link) => signedIn(await ask("POST", "/session", {body: {link}, limit_ms: SIGN_IN_MS}));
export const signIn = async (token) => signedIn(await ask("POST", "/session", {body: {token}, limit_ms: SIGN_IN_MS}));

export async function signOut() {
  await ask("DELETE", "/session");
  csrf = null;
}

// --- what there is -------------------------------------------------------------------------------------------------

export const status = (signal) => get("/status", null, signal, SOON_MS);

/** All devices, as they come: `take(rows, head)` gets rows of values, a thousand times or once; `head` is what stands before them. */
export async function fleet(take, signal) {
  const limit = new Limit(READ_MS, signal);
  const cutter = new RowCutter();
  const heard = async (promise) => {
    try {
      return await promise;
    } catch (error) {
      throw limit.meaning(error);
    }
  };
  try {
    const answer = await heard(
      fetch(`${BASE}/fleet`, {headers: {Accept: "application/json"}, signal: limit.signal, priority: BEHIND, credentials: "same-origin", cache: "no-store"}),
    );
    if (!answer.ok) throw refusal(answer.status, await heard(answer.text()));
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const piece = await heard(reader.read());
      if (piece.done) break;
      limit.again();
      const rows = cutter.take(piece.value);
      if (rows.length) take(rows, cutter.head);
    }
  } finally {
    limit.over();
  }
  if (!cutter.whole) throw new NoAnswer("the answer breaks off");
  take([], cutter.head);
}
export const device = (hostid, signal) => get(of(hostid), null, signal);
/** @type {(hostid: string, options?: {raw?: boolean, signal?: AbortSignal}) => Promise<any>} */
export const live = (hostid, {raw = false, signal} = {}) => get(`${of(hostid)}/live`, {raw: raw || null}, signal, SOON_MS);
export const buckets = (hostid, parameters, signal) => get(`${of(hostid)}/readings/buckets`, parameters, signal);
export const alarms = (parameters, signal) => get("/alarms", parameters, signal);
export const events = (parameters, signal) => get("/events", parameters, signal);
export const commands = (parameters, signal) => get("/commands", parameters, signal);
export const command = (number, wait, signal) => get(`/commands/${number}`, {wait}, signal, READ_MS + 1000 * (wait ?? 0));

/** The command that we asked for under this key; null: none is known. */
export async function commandUnder(key, hostid, signal) {
  const found = (await get("/commands", {key}, signal, SOON_MS))?.commands;
  if (!Array.isArray(found) || found.length > 1 || found.some((one) => !Number.isInteger(one?.number) || one.hostid !== hostid))
    throw new NoAnswer("the answer is another");
  return found[0] ?? null;
}
export const controllers = (signal) => get("/controllers", null, signal);
export const controller = (name, signal) => get(`/controllers/${encodeURIComponent(name)}`, null, signal);

/** Where all readings of some time are had as a file. */
export const readingsFile = (hostid, parameters) => `${BASE}${of(hostid)}/readings${query({...parameters, format: "csv"})}`;

// --- what is done --------------------------------------------------------------------------------------------------

export const acknowledge = (number) => ask("POST", `/alarms/${number}/acknowledge`);
export const changeSettings = (hostid, changes) => ask("PATCH", `${of(hostid)}/settings`, {body: changes});
export const lockDevice = (hostid, reason) => ask("PUT", `${of(hostid)}/lock`, {body: {reason}});
export const unlockDevice = (hostid) => ask("DELETE", `${of(hostid)}/lock`);
export const clearInput = (hostid, name) => ask("DELETE", `${of(hostid)}/inputs/${encodeURIComponent(name)}`);
export const enrolment = (signal) => get("/enrolment", null, signal, SOON_MS);
export const setEnrolment = (policy) => ask("PUT", "/enrolment", {body: {policy}});
export const approveDevice = (hostid) => ask("POST", `/enrolment/${encodeURIComponent(hostid)}/approve`);
export const rejectDevice = (hostid) => ask("DELETE", `/enrolment/${encodeURIComponent(hostid)}`);
export const forgetDevice = (hostid) => ask("DELETE", of(hostid));
export const resetPassword = (hostid, password) => ask("POST", `${of(hostid)}/reset-password`, {body: {password}});
export const cancelCommand = (number) => ask("DELETE", `/commands/${number}`);

/**
 * Have a command carried out. The key keeps it from being sent twice, whatever a proxy does; `now`: by the daemon's
 * clock. What comes to the daemon after we no longer wait for an answer is not done; but a stop is, however late.
 */
export async function sendCommand(hostid, body, {key, now}) {
  const stop = body.name === STOP;
  const limit = stop ? {} : {not_after: Math.round(now + SOON_MS)};
  const command = await ask("POST", `${of(hostid)}/commands`, {body: {...body, ...limit}, headers: {"Idempotency-Key": key}, priority: stop ? "high" : BEHIND});
  if (!Number.isInteger(command?.number) || command.hostid !== hostid) throw new NoAnswer("the answer is no command");
  return command;
}

/** By which a command is asked for, and found again. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// --- what is new ---------------------------------------------------------------------------------------------------

/** Open the stream of news; gives the response whose body is read by stream.js. */
export async function openStream(parameters, signal) {
  const limit = new Limit(SOON_MS, signal);
  try {
    const answer = await fetch(`${BASE}/events${query(parameters)}`, {
      headers: {Accept: "text/event-stream"},
      signal: limit.signal,
      priority: BEHIND,
      credentials: "same-origin",
      cache: "no-store",
    });
    if (!answer.ok) throw refusal(answer.status, await answer.text());
    return answer;
  } catch (error) {
    throw error instanceof Refused ? error : limit.meaning(error);
  } finally {
    limit.lift();
  }
}
