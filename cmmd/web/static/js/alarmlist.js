// Alarms as a list: what, how bad, since when, and whether somebody has seen it.

import * as api from "./api.js";
import {ago, moment} from "./format.js";
import {h, icon, put} from "./dom.js";
import {t, titled} from "./i18n.js";
import {address} from "./route.js";
import {may} from "./session.js";

const ORDER = {shutdown: 0, alarm: 1, warning: 2};

/** The worst first, then the newest; what nobody has seen before what somebody has. */
export const byUrgency = (a, b) => Number(a.acknowledged_at !== null) - Number(b.acknowledged_at !== null) || ORDER[a.severity] - ORDER[b.severity] || b.raised_at - a.raised_at;

/** One alarm. `device`: what to call its device, where it is not plain; `now`: the daemon's clock; `done(alarm)`: it was acknowledged. */
export function alarmItem(alarm, {device = null, now, done}) {
  const told = h("span", {class: "wrong", role: "alert"});
  const open = alarm.cleared_at === null;
  const button = open && alarm.acknowledged_at === null ? h("button", {
    class: "small", disabled: !may("operator"), title: may("operator") ? null : t("why.role"), "aria-label": t("alarm.acknowledge.which", {title: titled(alarm.title), device: device ?? ""}),
    on: {click: async () => {
      button.disabled = true;
      try {
        done(await api.acknowledge(alarm.number));
      } catch (error) {
        if (!(error instanceof api.Refused || error instanceof api.NoAnswer)) throw error;
        button.disabled = false;
        put(told, error instanceof api.NoAnswer ? t("error.no_answer.write") : t("error.refused", {why: error.message}));
      }
    }},
  }, t("alarm.acknowledge")) : null;
  const seen = alarm.acknowledged_at === null ? null : h("span", {class: "tag", title: moment(alarm.acknowledged_at)}, icon("ok"), t("alarm.acknowledged", {by: alarm.acknowledged_by ?? "?"}));
  return h("li", {class: `alarm v-${alarm.severity}${open ? "" : " over"}`, data: {number: alarm.number}},
    icon(alarm.severity),
    h("div", {class: "what"},
      h("p", {class: "title"}, h("b", {}, titled(alarm.title)), " ", h("span", {class: "severity"}, t(`severity.${alarm.severity}`))),
      h("p", {class: "muted"}, device ? [h("a", {href: address(["devices", alarm.hostid])}, device), " · "] : null,
        h("time", {datetime: new Date(alarm.raised_at).toISOString(), title: moment(alarm.raised_at)}, open ? ago(alarm.raised_at, now) : moment(alarm.raised_at)),
        open ? null : ` – ${moment(alarm.cleared_at)}`), told),
    h("div", {class: "act"}, seen, button));
}
