// Devices that wait to be let in, each with what is known of it. A row stays where it is while somebody is at the list.

import * as api from "./api.js";
import {confirm} from "./dialog.js";
import {moment, number, when} from "./format.js";
import {h, icon, put} from "./dom.js";
import {t, titled} from "./i18n.js";
import {address} from "./route.js";
import {may} from "./session.js";
import {why} from "./why.js";

const READ_MS = 10_000; // what became of a decision is in sight for so long at least

/** What a device is known by: where another one has come under the same module ID, it is another row. */
const keyOf = ({hostid, address: from, first_at: at}) => JSON.stringify([hostid, from, at]);

export class Queue {
  #items = new Map();
  #signal;
  #titleOf;
  #changed;

  /** `signal`: ends with the page; `titleOf(name)`: of a controller profile; `changed()`: the queue, by this page. */
  constructor({signal, titleOf, changed}) {
    this.#signal = signal;
    this.#titleOf = titleOf;
    this.#changed = changed;
    this.element = h("ul", {class: "queue"});
  }

  /** Show those that wait. Rows of others go only while nobody is at the list: else the next row would be where one was. */
  show(waiting) {
    const keys = new Set(waiting.map(keyOf));
    const held = this.element.matches(":hover") || this.element.contains(document.activeElement);
    for (const [key, item] of this.#items) {
      if (keys.has(key)) continue;
      if (!held && performance.now() > item.until) {
        item.element.remove();
        this.#items.delete(key);
      } else if (!item.over) this.#end(item, item.unknown ? [icon("warning"), `${t("error.no_answer.write")} ${t("queue.gone")}`] : t("queue.gone"));
    }
    for (const one of waiting) {
      const key = keyOf(one);
      const item = this.#items.get(key);
      if (item) this.#fill(item, one);
      else this.#add(key, one);
    }
  }

  #add(key, one) {
    const item = {
      one: null,
      over: false,
      unknown: false, // whether a decision may have been carried out
      until: 0, // it stays in sight, by the page's clock
      facts: h("div", {class: "what"}),
      buttons: h("div", {class: "act"}),
      told: h("span", {role: "status", tabindex: "-1"}),
      element: null,
    };
    item.element = h("li", {class: "card candidate", data: {hostid: one.hostid}}, item.facts, item.buttons);
    put(item.buttons, item.told, this.#button(item, "approve"), this.#button(item, "reject"));
    this.#items.set(key, item);
    this.#fill(item, one);
    this.element.append(item.element);
  }

  #button(item, what) {
    return h(
      "button",
      {
        class: what === "approve" ? "small primary" : "small",
        disabled: !may("admin"),
        title: may("admin") ? null : t("code.admin_only"),
        on: {click: () => this.#decide(item, what)},
      },
      t(`queue.${what}`),
    );
  }

  #fill(item, one) {
    if (JSON.stringify(one) === JSON.stringify(item.one)) return;
    item.one = one;
    const profile = t(`queue.by.${one.profile_by}`, {profile: titled(this.#titleOf(one.profile))});
    const facts = [
      ["column.hostid", h("span", {class: "mono"}, one.hostid)],
      ["column.model", one.moduletype || "–"],
      ["about.profile", profile],
      ["about.address", h("span", {class: "mono"}, one.address)],
      ["queue.first", h("time", {datetime: new Date(one.first_at).toISOString(), title: moment(one.first_at)}, when(one.first_at))],
      ["about.login", t("queue.attempts", {time: when(one.last_at), n: number(one.attempts)})],
    ];
    put(
      item.facts,
      h("h3", {}, one.hostname || one.hostid),
      one.contested ? h("p", {class: "contested"}, icon("alarm"), t("queue.contested")) : null,
      h(
        "dl",
        {class: "facts"},
        facts.map(([key, value]) => [h("dt", {}, t(key)), h("dd", {}, value)]),
      ),
    );
    for (const button of item.buttons.querySelectorAll("button")) button.setAttribute("aria-label", `${button.textContent} ${one.hostid}`);
  }

  /** One click; of a device that two claim to be, a question besides. What is let in is the device that was shown. */
  async #decide(item, what) {
    const {one} = item;
    if (what === "approve" && one.contested && !(await this.#sure(one))) return;
    item.until = Infinity;
    item.unknown = false;
    put(item.told, icon("wait"));
    if (item.buttons.contains(document.activeElement)) item.told.focus({preventScroll: true}); // a disabled button would lose it
    this.#enable(item, false);
    try {
      let details = null;
      if (what === "reject") await api.rejectDevice(one.hostid);
      else if (await this.#same(one)) details = await api.approveDevice(one.hostid);
      else {
        item.until = 0;
        this.#enable(item, true);
        put(item.told, icon("warning"), t("queue.changed"));
        this.#changed();
        return;
      }
      const unrecorded = details?.recorded === false ? ` ${t("told.not_recorded")}` : null;
      this.#end(
        item,
        what === "reject" ? t("queue.rejected") : [icon("ok"), h("a", {href: address(["devices", one.hostid])}, t("queue.approved")), unrecorded],
      );
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof api.Refused || error instanceof api.NoAnswer)) throw error;
      item.unknown = error instanceof api.NoAnswer;
      item.until = item.unknown ? performance.now() + READ_MS : 0;
      if (error instanceof api.Refused && error.code === "unknown_device") this.#end(item, t("queue.gone"));
      else {
        this.#enable(item, true);
        put(item.told, icon("warning"), error instanceof api.NoAnswer ? t("error.no_answer.write") : t("error.refused", {why: why(error)}));
      }
    }
    this.#changed();
  }

  #sure(one) {
    const text = [h("p", {}, t("queue.contested")), h("p", {class: "caution"}, icon("warning"), h("span", {}, t("queue.contested.means")))];
    return confirm({title: t("queue.ask", {hostid: one.hostid}), text, yes: t("queue.approve"), danger: true, signal: this.#signal});
  }

  /** Whether the device that waits under this module ID is still the one that was shown, as it was shown. */
  async #same(one) {
    const {waiting} = await api.enrolment(this.#signal);
    return waiting.some((now) => keyOf(now) === keyOf(one) && now.contested === one.contested);
  }

  #enable(item, yes) {
    for (const button of item.buttons.querySelectorAll("button")) button.disabled = !yes;
  }

  /** It waits no more: say why, where its buttons were. */
  #end(item, text) {
    item.over = true;
    item.until = performance.now() + READ_MS;
    item.element.dataset.over = "";
    const focused = item.buttons.contains(document.activeElement);
    put(item.buttons, item.told);
    put(item.told, text);
    if (focused) item.told.focus({preventScroll: true});
  }
}
