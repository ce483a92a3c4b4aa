// Numbers, times and ages as people read them.

import {language, t} from "./i18n.js";

const formats = new Map();

function cached(key, make) {
  const name = `${language()} ${key}`;
  let format = formats.get(name);
  if (!format) formats.set(name, (format = make(language() === "zh" ? "zh-CN" : undefined)));
  return format;
}

/** What stands where nothing is known. */
export const NOTHING = "–";

/** A number with at most so many decimals. */
export function number(value, decimals = 2) {
  if (value === null || value === undefined) return NOTHING;
  return cached(`n${decimals}`, (tag) => new Intl.NumberFormat(tag, {maximumFractionDigits: decimals})).format(value);
}

/** A number with exactly so many decimals, so that a value that changes does not jump. */
export function fixed(value, decimals) {
  if (value === null || value === undefined) return NOTHING;
  const options = {minimumFractionDigits: decimals, maximumFractionDigits: decimals};
  return cached(`f${decimals}`, (tag) => new Intl.NumberFormat(tag, options)).format(value);
}

/** A value and its unit; no-break space between them, none before a percent sign. */
export function quantity(value, unit, decimals = 2) {
  if (value === null || value === undefined) return NOTHING;
  return unit ? `${number(value, decimals)}\u00a0${unit}` : number(value, decimals);
}

/** Date and time. */
export function moment(ms) {
  if (ms === null || ms === undefined) return NOTHING;
  return cached("moment", (tag) => new Intl.DateTimeFormat(tag, {dateStyle: "medium", timeStyle: "medium"})).format(ms);
}

/** The time only. */
export function clock(ms) {
  return cached("clock", (tag) => new Intl.DateTimeFormat(tag, {timeStyle: "medium"})).format(ms);
}

/** The time of today, date and time of other days. */
export function when(ms) {
  if (ms === null || ms === undefined) return NOTHING;
  return new Date(ms).toDateString() === new Date().toDateString() ? clock(ms) : moment(ms);
}

/** How long something took, or is ago: 12 s, 4 min, 3 h, 2 d. */
export function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 100) return t("span.s", {n: seconds});
  if (seconds < 5400) return t("span.min", {n: Math.round(seconds / 60)});
  if (seconds < 172800) return t("span.h", {n: Math.round(seconds / 3600)});
  return t("span.d", {n: Math.round(seconds / 86400)});
}

/** How long ago, as of `now`. */
export function ago(ms, now) {
  return ms === null || ms === undefined ? t("never") : t("ago", {span: span(now - ms)});
}
