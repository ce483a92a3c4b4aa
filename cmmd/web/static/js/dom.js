// Elements without a framework: h() makes HTML, s() makes SVG. Text is always text, never markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [kind, listener] of Object.entries(value)) element.addEventListener(kind, listener);
    } else if (name === "data") {
      Object.assign(element.dataset, value);
    } else if (name === "value" || name === "checked" || name === "selected") {
      element[name] = value;
    } else {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false));
  return element;
}

/** An HTML element: h("p", {class: "note", on: {click}}, "text", another). */
export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

/** An SVG element. */
export const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

/** An icon of index.html's sprite; decoration only: what it means stands beside it, or in `label`. */
export function icon(name, label) {
  const use = s("use", {href: `#i-${name}`});
  const attributes = label ? {role: "img", "aria-label": label} : {"aria-hidden": "true"};
  return s("svg", {class: `icon icon-${name}`, ...attributes}, use);
}

/** Put other children into an element. */
export function put(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false));
  return element;
}

/** Set a text only where it has changed: writing the same text again costs a layout. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set or remove an attribute only where it has changed. */
export function mark(element, name, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) {
    element.setAttribute(name, String(value));
  }
}

/** Call at most once every `ms`, the first time at once, and never lose the last call. */
export function throttled(ms, call) {
  let timer = null;
  let again = false;
  const run = () => {
    timer = setTimeout(() => {
      timer = null;
      if (again) {
        again = false;
        run();
      }
    }, ms);
    call();
  };
  const throttle = () => {
    if (timer === null) run();
    else again = true;
  };
  throttle.cancel = () => {
    clearTimeout(timer);
    timer = null;
    again = false;
  };
  return throttle;
}
