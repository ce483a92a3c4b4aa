// Why the daemon refused something, in the page's language.

import {tOr} from "./i18n.js";

/** `error`: an api.Refused. What is wrong in a request is named as the daemon names it: nobody else knows. */
export function why({code, field, message}) {
  const text = tOr(`code.${code}`, message);
  return field && text !== message ? `${text} (${message})` : text;
}
