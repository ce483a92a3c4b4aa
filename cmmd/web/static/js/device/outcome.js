// What became of a command, in words. Timeout and lost are not failures: nobody knows.

import {clock, span} from "../format.js";
import {h, icon} from "../dom.js";
import {t, tOr, titled} from "../i18n.js";

export const CONFIRM_MS = 32_000;
export const CONFIRM_RESET_MS = 302_000;

/** What a command is called. */
export function commandName(command, infos = []) {
  if (command.kind === "modbus" && command.name) {
    const info = infos.find((one) => one.name === command.name);
    return tOr(`command.${command.name}`, info ? titled(info.title) : command.name);
  }
  return t(`kind.${command.kind}`);
}

/** "yes", "no" or "unknown": whether the device has done it; "none": it was never sent; "wait": not known yet. */
export function verdict(command) {
  return {done: "yes", refused: "no", timeout: "unknown", lost: "unknown", "not sent": "none"}[command.outcome] ?? "wait";
}

/** Whether it may still be seen in uploads. */
export function watching(command, now) {
  if (command.confirmed !== null || command.ended_at === null || ["refused", "not sent"].includes(command.outcome)) return false;
  return now - command.ended_at < (command.kind === "reset" ? CONFIRM_RESET_MS : CONFIRM_MS);
}

const VERDICT_ICON = {yes: "ok", no: "no", unknown: "unknown", none: "no", wait: "wait"};

/** The outcome as a mark with words. */
export function outcomeTag(command) {
  const what = verdict(command);
  return h("span", {class: `tag o-${what}`}, icon(VERDICT_ICON[what]), t(`outcome.${(command.outcome ?? "none yet").replaceAll(" ", "_")}`));
}

/** Whether it was seen in uploads, as a mark with words; null: nobody can tell. */
export function confirmedTag(command, now, confirmable = true) {
  if (command.confirmed !== null) {
    return h(
      "span",
      {class: `tag o-${command.confirmed ? "yes" : "no"}`},
      icon(command.confirmed ? "ok" : "warning"),
      t(command.confirmed ? "confirmed.yes" : "confirmed.no"),
    );
  }
  if (!confirmable || !watching(command, now)) return null;
  return h("span", {class: "tag o-wait"}, icon("wait"), t("confirmed.wait"));
}

/** That the daemon may lose what it tells, as a mark with words; null: it may not. */
export function recordedTag({recorded}) {
  return recorded === false ? h("span", {class: "tag o-wait"}, icon("wait"), t("step.not_recorded")) : null;
}

/** The steps of a command from being accepted to being confirmed. */
export function steps(command, now, confirmable) {
  const step = (state, name, text) => h("li", {class: `step o-${state}`}, icon(VERDICT_ICON[state]), h("span", {}, h("b", {}, name), text ? ` ${text}` : ""));
  const list = [step("yes", t("step.accepted"), clock(command.accepted_at))];
  const what = verdict(command);
  if (command.sent_at !== null) list.push(step("yes", t("step.sent"), clock(command.sent_at)));
  else if (what === "wait") list.push(step("wait", t("step.waits")));
  if (what === "wait" && command.sent_at !== null) list.push(step("wait", t("step.answer")));
  if (what !== "wait") {
    const after = t("step.after", {span: span(command.ended_at - command.accepted_at)});
    list.push(step(what, t(`outcome.${command.outcome.replaceAll(" ", "_")}`), `${after}. ${t(`outcome.${command.outcome.replaceAll(" ", "_")}.means`)}`));
    if (command.reply && command.outcome === "refused") list.push(h("li", {class: "step reply"}, t("step.reply"), " ", h("q", {}, command.reply)));
    else if (command.reply && command.outcome !== "done") list.push(h("li", {class: "step reply"}, t("step.note"), " ", command.reply));
    if (command.confirmed === true) list.push(step("yes", t("confirmed.yes"), t("confirmed.yes.means")));
    else if (command.confirmed === false) list.push(step("unknown", t("confirmed.no"), t("confirmed.no.means")));
    else if (confirmable && watching(command, now)) list.push(step("wait", t("confirmed.wait"), t("confirmed.wait.means")));
  }
  if (command.recorded === false) list.push(step("wait", t("step.not_recorded"), t("step.not_recorded.means")));
  return h("ol", {class: "steps"}, list);
}
