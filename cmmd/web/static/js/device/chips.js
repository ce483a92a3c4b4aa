// What a device does, in a few words at the head of its page.

import {h, icon, put} from "../dom.js";
import {t, titled} from "../i18n.js";

/** State and severity as the stream has told them; before it has, as the alarms (`worst`) and the engine have it. */
export function toldState(row, worst, live) {
  if (row.state !== undefined) return {state: row.state, severity: row.severity};
  if (worst === undefined) return {state: "unknown", severity: null};
  if (worst === "shutdown" || worst === "alarm") return {state: "alarm", severity: worst};
  const turns = live.engine_turns;
  return {state: turns === null ? "unknown" : turns ? "running" : "standby", severity: worst};
}

export class Chips {
  #key = null;

  constructor() {
    this.element = h("ul", {class: "chips"});
  }

  /** `late`: why the values are not to be relied on by their age, a key of texts; null: they are. */
  show(row, live, late, {state: told, severity: worst}) {
    // The state is the daemon's; where it has not told for a while, only an alarm still counts.
    const state = !live.online ? "offline" : told !== "alarm" && (told === "offline" || late) ? "unknown" : told;
    const chip = (kind, ...children) => h("li", {class: `chip ${kind}`}, children);
    const key = JSON.stringify([state, worst, live.mode, live.engine_state, row.enabled, live.inputs, live.stale, late, live.completeness, live.packet_gaps]);
    if (key === this.#key) return;
    this.#key = key;
    put(
      this.element,
      chip(`s-${state}`, icon(state === "alarm" && worst === "shutdown" ? "shutdown" : state), t(`state.${state}`)),
      chip("", h("span", {class: "muted"}, t("column.mode")), " ", h("b", {}, live.mode ? t(`mode.${live.mode}`) : t("mode.unknown"))),
      live.engine_state ? chip("", h("span", {class: "muted"}, t("column.engine")), " ", h("b", {}, titled(live.engine_state))) : null,
      row.enabled ? null : chip("bad", icon("no"), t("device.disabled")),
      late ? chip("old", icon("wait"), t(`device.${late}`)) : live.stale ? chip("old", icon("wait"), t("device.stale")) : null,
      live.inputs.remote_inhibited ? chip("old", icon("no"), t("device.inhibited")) : null,
      live.completeness !== null && live.completeness < 0.9
        ? chip("old", icon("unknown"), t("device.completeness", {n: Math.round(live.completeness * 100)}))
        : null,
      live.packet_gaps ? chip("old", icon("unknown"), t("device.gaps", {n: live.packet_gaps})) : null,
    );
  }
}
