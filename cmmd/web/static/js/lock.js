// The maintenance lock of a device in a row, wherever it is shown.

import {h, icon} from "./dom.js";
import {t} from "./i18n.js";

/** Who has locked it, and why; null: it is not locked. */
export const lockText = ({locked_by: by, lock_reason: reason}) => (by ? t("lock.by", {by, reason: reason ?? ""}) : null);

/** A mark with a word; null: it is not locked. */
export function lockMark(row) {
  return row?.locked_by ? h("span", {class: "lock-mark", title: lockText(row)}, icon("lock"), t("lock.mark")) : null;
}
