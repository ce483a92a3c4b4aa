// Which devices there may be: who can register, and the queue of those that wait to be let in.

import * as api from "../api.js";
import {confirm} from "../dialog.js";
import {h, icon, put, throttled} from "../dom.js";
import {concerns} from "../enrolment.js";
import {number} from "../format.js";
import {t} from "../i18n.js";
import {Queue} from "../queue.js";
import {may} from "../session.js";
import {why} from "../why.js";

const POLICIES = ["open", "approve", "known"];
const SOON_MS = 1000;
const SELDOM_MS = 10_000;

export function enrolmentPage({main, fleet}) {
  document.title = `${t("nav.enrolment")} · cmmd`;
  const leaving = new AbortController();
  const {signal} = leaving;
  let now = null; // as the daemon answered last; null: it has not
  let profiles = null; // titles by name

  const told = h("p", {class: "wrong", role: "alert"});
  const means = h("p", {});
  const choice = h(
    "div",
    {class: "segments", role: "group", "aria-labelledby": "policy-title"},
    POLICIES.map((name) =>
      h(
        "button",
        {data: {name}, disabled: !may("admin"), title: may("admin") ? null : t("code.admin_only"), on: {click: () => choose(name)}},
        t(`policy.${name}`),
      ),
    ),
  );
  const note = h("p", {class: "muted", role: "status"}, t("list.loading"));
  const queue = new Queue({signal, titleOf: (name) => profiles?.get(name) ?? name, changed: () => soon()});
  put(
    main,
    h("h1", {}, t("nav.enrolment")),
    h("section", {class: "card policy", "aria-labelledby": "policy-title"}, h("h2", {id: "policy-title"}, t("policy.title")), choice, means, told),
    h("section", {"aria-labelledby": "queue-title"}, h("h2", {id: "queue-title"}, t("queue.title")), note, queue.element),
  );

  async function choose(policy) {
    if (now === null || policy === now.policy) return;
    const before = now.policy;
    const text = [
      h("p", {}, t(`policy.${policy}.means`)),
      policy === "open" ? h("p", {class: "caution"}, icon("warning"), h("span", {}, t("policy.open.caution"))) : null,
    ];
    if (!(await confirm({title: t("policy.ask", {policy: t(`policy.${policy}`)}), text, yes: t("policy.yes"), danger: policy === "open", signal}))) return;
    put(told);
    if (now.policy !== before) {
      put(told, t("policy.changed"));
      return;
    }
    try {
      const answer = await api.setEnrolment(policy);
      take(answer);
      if (answer.recorded === false) put(told, t("told.not_recorded"));
    } catch (error) {
      if (!(error instanceof api.Refused || error instanceof api.NoAnswer)) throw error;
      put(told, error instanceof api.NoAnswer ? t("error.no_answer.write") : t("error.refused", {why: why(error)}));
      soon();
    }
  }

  async function fetch() {
    try {
      profiles ??= new Map((await api.controllers(signal)).map((one) => [one.name, one.title]));
      take(await api.enrolment(signal));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof api.Refused || error instanceof api.NoAnswer)) throw error;
      const text = error instanceof api.NoAnswer ? t("error.no_answer") : t("error.refused", {why: why(error)});
      put(note, icon("warning"), now === null ? text : `${text} ${t("device.alarms.old")}`);
    }
  }

  function take(answer) {
    if (signal.aborted) return;
    now = answer;
    for (const button of choice.children) button.setAttribute("aria-pressed", String(button.dataset.name === now.policy));
    put(means, now.policy === "open" ? icon("warning") : null, t(`policy.${now.policy}.means`));
    queue.show(now.waiting);
    const n = now.waiting.length;
    put(note, n ? t("queue.count", {n: number(n)}) : [icon("ok"), t("queue.none")]);
  }

  const soon = throttled(SOON_MS, fetch);
  fleet.addEventListener("event", ({detail}) => concerns(detail) && soon(), {signal});
  fleet.addEventListener("link", () => fleet.linked && soon(), {signal});
  const ticking = setInterval(() => document.hidden || soon(), SELDOM_MS);
  soon();
  fleet.follow();
  return {
    close() {
      leaving.abort();
      clearInterval(ticking);
      soon.cancel();
    },
  };
}
