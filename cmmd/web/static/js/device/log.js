// Events and the command audit: the newest first, older ones when somebody asks.

import * as api from "../api.js";
import {moment} from "../format.js";
import {h, icon, put, throttled} from "../dom.js";
import {t, tOr, titled} from "../i18n.js";
import {why} from "../why.js";
import {inputTitle, saidText} from "./beside.js";
import {commandName, confirmedTag, outcomeTag, recordedTag} from "./outcome.js";

const A_PAGE = 50;

/** A list that is fetched in pages; `row(record)` makes a table row. */
export class Pages {
  #fetch;
  #row;
  #records = [];
  #next = null;
  #turn = 0;
  #abort = new AbortController();

  constructor({fetch, row, heads, label, nothing}) {
    this.#fetch = fetch;
    this.#row = row;
    this.nothing = nothing;
    this.body = h("tbody", {});
    this.more = h("button", {hidden: true, on: {click: () => this.#older()}}, t("list.older"));
    this.note = h("p", {class: "muted", role: "status"}, t("list.loading"));
    this.element = h(
      "div",
      {},
      h(
        "div",
        {class: "scroll", tabindex: "0", role: "region", "aria-label": label},
        h(
          "table",
          {class: "list"},
          h("caption", {class: "hidden"}, label),
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              heads.map((head) => h("th", {scope: "col"}, head)),
            ),
          ),
          this.body,
        ),
      ),
      this.note,
      this.more,
    );
    this.soon = throttled(1000, () => this.refresh());
  }

  close() {
    this.#abort.abort();
    this.soon.cancel();
  }

  /** Fetch the newest page again. What was fetched of older ones stays, unless something in between may be missing. */
  async refresh() {
    const turn = ++this.#turn;
    const page = await this.#page(null);
    if (!page || turn !== this.#turn) return;
    const fresh = new Set(page.records.map((one) => one.number));
    const older = this.#records.filter((one) => !fresh.has(one.number));
    const apart = page.next !== null && older.length === this.#records.length;
    if (apart) {
      this.#records = page.records;
      this.#next = page.next;
    } else {
      this.#records = [...page.records, ...older];
    }
    this.#draw();
  }

  async #older() {
    const after = this.#next;
    const page = await this.#page(after);
    if (!page || after !== this.#next) return;
    const known = new Set(this.#records.map((one) => one.number));
    this.#records.push(...page.records.filter((one) => !known.has(one.number)));
    this.#next = page.next;
    this.#draw();
  }

  async #page(after) {
    try {
      return await this.#fetch({order: "desc", limit: A_PAGE, after}, this.#abort.signal);
    } catch (error) {
      if (error.name === "AbortError") return null;
      if (!(error instanceof api.Refused || error instanceof api.NoAnswer)) throw error;
      put(this.note, icon("warning"), error instanceof api.Refused ? t("error.refused", {why: why(error)}) : t("error.no_answer"));
      return null;
    }
  }

  #draw() {
    put(this.body, this.#records.map(this.#row));
    put(this.note, this.#records.length ? null : this.nothing);
    this.more.hidden = this.#next === null || this.#records.length < A_PAGE;
  }
}

export function eventList(hostid) {
  return new Pages({
    fetch: async (asked, signal) => {
      const {events, next} = await api.events({...asked, hostid}, signal);
      return {records: events, next};
    },
    row: eventRow,
    heads: [t("list.at"), t("list.what"), t("list.details")],
    label: t("tab.events"),
    nothing: t("list.no_events"),
  });
}

function eventRow(event) {
  return h("tr", {}, h("td", {class: "time"}, moment(event.at)), h("td", {}, eventTitle(event)), h("td", {class: "muted"}, eventDetails(event)));
}

function eventTitle({kind, details}) {
  if (kind.startsWith("alarm_")) return [icon(details.severity), " ", t(`event.${kind}`, {title: titled(details.title)})];
  if (kind === "mode_changed") return t("event.mode_changed", {before: t(`mode.${details.before}`), after: t(`mode.${details.after}`)});
  if (kind === "breaker_changed")
    return t(details.closed ? "event.breaker_closed" : "event.breaker_opened", {breaker: t(`diagram.${details.breaker}_breaker`)});
  if (kind === "commanded")
    return t("event.commanded", {
      command: tOr(`command.${details.name}`, tOr(`kind.${details.name}`, details.name)),
      outcome: t(`outcome.${String(details.outcome).replaceAll(" ", "_")}`),
    });
  if (kind === "setting_changed")
    return t("event.setting_changed", {setting: t(`setting.${details.setting}`), before: settingValue(details.before), after: settingValue(details.after)});
  if (kind === "input_cleared") return t("event.input_cleared", {input: inputTitle(details.input)});
  return tOr(`event.${kind}`, kind);
}

function settingValue(value) {
  return value === null ? t("setting.default") : String(value);
}

function eventDetails({kind, details}) {
  const parts = [];
  if (kind.startsWith("alarm_")) parts.push(t(`severity.${details.severity}`));
  if (details.by) parts.push(t("list.by", {name: details.by}));
  if (details.requester) parts.push(t("list.by", {name: details.requester}));
  if (details.locked_by) parts.push(t("event.locked_by", {by: details.locked_by}));
  if (kind === "input_cleared") parts.push(saidText(details));
  else if (details.address) parts.push(details.address);
  if (details.login_address) parts.push(t("event.login_address", {address: details.login_address}));
  if (details.state) parts.push(titled(details.state));
  if (details.reason) parts.push(details.reason);
  if (details.why) parts.push(details.why);
  if (details.suppressed) parts.push(t("list.suppressed", {n: details.suppressed}));
  return parts.join(" · ");
}

export function commandList(hostid, fleet, infos) {
  return new Pages({
    fetch: async (asked, signal) => {
      const {commands, next} = await api.commands({...asked, hostid}, signal);
      return {records: commands, next};
    },
    row: (command) =>
      h(
        "tr",
        {},
        h("td", {class: "time"}, moment(command.accepted_at)),
        h("td", {}, commandName(command, infos()), command.name === null && command.kind === "modbus" ? h("code", {class: "frame"}, command.request) : null),
        h(
          "td",
          {},
          outcomeTag(command),
          " ",
          confirmedTag(command, fleet.now(), infos().find((one) => one.name === command.name)?.confirmable ?? command.kind === "reset"),
          " ",
          recordedTag(command),
        ),
        h("td", {class: "muted"}, command.requester),
        h("td", {class: "muted reply"}, command.reply ?? ""),
      ),
    heads: [t("list.at"), t("list.command"), t("list.outcome"), t("list.requester"), t("list.reply")],
    label: t("tab.commands"),
    nothing: t("list.no_commands"),
  });
}
