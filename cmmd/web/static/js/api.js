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

let csrf = null;
let onSignedOut = () => {};

/** Whom to call when the daemon does not know (any more) who we are. */
export function whenSignedOut(call) {
  onSignedOut = call;
}

function query(parameters) {
  const given = Object.entries(parameters ?? {}).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}` : "";
}

async function ask(method, path, {parameters, body, headers, signal} = {}) {
  const sent = {Accept: "application/json", ...headers};
  if (csrf && method !== "GET") sent["X-CSRF-Token"] = csrf;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  let answer;
  let text;
  try {
    answer = await fetch(BASE + path + query(parameters), {
      method, headers: sent, signal, credentials: "same-origin", cache: "no-cache",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    text = await answer.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new NoAnswer(error.message);
  }
  if (answer.ok) return read(text);
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
  } catch { /* a proxy's page, not ours */ }
  if (status === 401) onSignedOut();
  return new Refused(problem);
}

/** Whether this answer to a write says that nothing was done: a proxy's does not, and neither does an error in the daemon. */
function surelyNot(answer, {code, status}) {
  const ours = /^application\/problem\+json\b/i.test(answer.headers.get("Content-Type") ?? "") && code !== "unknown";
  return status === 401 || ours && (status < 500 || code === "not_audited");
}

const get = (path, parameters, signal) => ask("GET", path, {parameters, signal});
const of = (hostid) => `/devices/${encodeURIComponent(hostid)}`;

// --- who we are ----------------------------------------------------------------------------------------------------

function signedIn(session) {
  csrf = session?.csrf ?? null;
  return session;
}

export const session = async () => signedIn(await get("/session"));
export const signIn = async (token) => signedIn(await ask("POST", "/session", {body: {token}}));

export async function signOut() {
  await ask("DELETE", "/session");
  csrf = null;
}

// --- what there is -------------------------------------------------------------------------------------------------

export const status = () => get("/status");

/** All devices, as they come: `take(rows, head)` gets rows of values, a thousand times or once; `head` is what stands before them. */
export async function fleet(take, signal) {
  let answer;
  try {
    answer = await fetch(`${BASE}/fleet`, {headers: {Accept: "application/json"}, signal, credentials: "same-origin", cache: "no-store"});
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new NoAnswer(error.message);
  }
  if (!answer.ok) throw refusal(answer.status, await answer.text());
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const cutter = new RowCutter();
  for (;;) {
    let piece;
    try {
      piece = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new NoAnswer(String(error));
    }
    if (piece.done) break;
    const rows = cutter.take(piece.value);
    if (rows.length) take(rows, cutter.head);
  }
  if (!cutter.whole) throw new NoAnswer("the answer breaks off");
  take([], cutter.head);
}
export const device = (hostid, signal) => get(of(hostid), null, signal);
export const live = (hostid, {raw = false, signal} = {}) => get(`${of(hostid)}/live`, {raw: raw || null}, signal);
export const buckets = (hostid, parameters, signal) => get(`${of(hostid)}/readings/buckets`, parameters, signal);
export const alarms = (parameters, signal) => get("/alarms", parameters, signal);
export const events = (parameters, signal) => get("/events", parameters, signal);
export const commands = (parameters, signal) => get("/commands", parameters, signal);
export const command = (number, wait, signal) => get(`/commands/${number}`, {wait}, signal);
export const controllers = (signal) => get("/controllers", null, signal);
export const controller = (name, signal) => get(`/controllers/${encodeURIComponent(name)}`, null, signal);

/** Where all readings of some time are had as a file. */
export const readingsFile = (hostid, parameters) => `${BASE}${of(hostid)}/readings${query({...parameters, format: "csv"})}`;

// --- what is done --------------------------------------------------------------------------------------------------

export const acknowledge = (number) => ask("POST", `/alarms/${number}/acknowledge`);
export const changeSettings = (hostid, changes) => ask("PATCH", `${of(hostid)}/settings`, {body: changes});
export const cancelCommand = (number) => ask("DELETE", `/commands/${number}`);

/** Have a command carried out. The key keeps it from being sent twice, whatever a proxy does. */
export async function sendCommand(hostid, body) {
  const command = await ask("POST", `${of(hostid)}/commands`, {body, headers: {"Idempotency-Key": randomKey()}});
  if (!Number.isInteger(command?.number)) throw new NoAnswer("the answer is no command");
  return command;
}

function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// --- what is new ---------------------------------------------------------------------------------------------------

/** Open the stream of news; gives the response whose body is read by stream.js. */
export async function openStream(parameters, signal) {
  let answer;
  try {
    answer = await fetch(`${BASE}/events${query(parameters)}`, {
      headers: {Accept: "text/event-stream"}, signal, credentials: "same-origin", cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new NoAnswer(error.message);
  }
  if (!answer.ok) throw refusal(answer.status, await answer.text());
  return answer;
}
