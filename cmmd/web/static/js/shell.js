// What stands around every page: the head with navigation, the link to the daemon, and the menu.

import {NoAnswer, Refused} from "./api.js";
import {EnrolmentWatch} from "./enrolment.js";
import {clock} from "./format.js";
import {h, icon, mark, put, say} from "./dom.js";
import {chooseLanguage, language, languages, t} from "./i18n.js";
import {address} from "./route.js";
import {may, me, signOut} from "./session.js";

const LINKS = [
  ["", "nav.fleet"],
  ["alarms", "nav.alarms"],
  ["map", "nav.map"],
  ["enrolment", "nav.enrolment"],
];
const LOST_AFTER_MS = 2_000; // a shorter gap is nobody's business

export class Shell {
  #fleet;
  #leave;
  #links = new Map();
  #badge = h("span", {class: "badge"});
  #waiting = h("span", {class: "badge", hidden: true, role: "img"});
  #urge = h("div", {class: "banner urge", role: "status", hidden: true});
  #enrolment = null;
  #link = h("p", {class: "link"});
  #banner = h("div", {class: "banner lost", role: "alert", hidden: true});
  #still = h("div", {class: "banner lost", role: "alert", hidden: true});
  #timer = null;
  #listening = new AbortController();

  constructor(app, fleet, {leave}) {
    this.#fleet = fleet;
    this.#leave = leave;
    this.main = h("main", {id: "main", tabindex: "-1"});
    const nav = h(
      "nav",
      {"aria-label": t("nav.label")},
      LINKS.filter(([name]) => name !== "enrolment" || may("operator")).map(([name, key]) => {
        const badge = {alarms: this.#badge, enrolment: this.#waiting}[name];
        const link = h("a", {href: address(name ? [name] : [])}, h("span", {}, t(key)), badge);
        this.#links.set(name, link);
        return link;
      }),
    );
    put(
      app,
      h("a", {class: "skip", href: "#main", on: {click: (event) => this.#skip(event)}}, t("nav.skip")),
      h("header", {class: "top"}, h("a", {class: "brand", href: "#/", "aria-label": t("nav.home")}, "cmmd"), nav, this.#link, this.#menu()),
      this.#banner,
      this.#still,
      this.#urge,
      isSecureContext ? null : h("p", {class: "banner note"}, t("plain.http")),
      may("operator") || me.csrf ? null : h("p", {class: "banner note"}, t("signin.none")),
      this.main,
    );
    const {signal} = this.#listening;
    fleet.addEventListener("link", () => this.#linked(), {signal});
    for (const kind of ["all", "rows", "alarms"]) fleet.addEventListener(kind, () => this.#count(), {signal});
    if (may("operator")) {
      this.#enrolment = new EnrolmentWatch(fleet);
      this.#enrolment.addEventListener("change", () => this.#enrolled(), {signal});
    }
    this.#linked();
    this.#count();
  }

  close() {
    this.#listening.abort();
    this.#enrolment?.close();
    clearTimeout(this.#timer);
    delete document.body.dataset.link;
  }

  /** Which of the links is where we are. */
  at(name) {
    for (const [key, link] of this.#links) mark(link, "aria-current", key === name || (key === "" && name === "devices") ? "page" : null);
  }

  /** Somebody has come to another page: a screen reader begins at its head. */
  arrive() {
    scrollTo(0, 0);
    this.main.focus({preventScroll: true});
  }

  #skip(event) {
    event.preventDefault();
    this.main.focus();
  }

  #count() {
    const open = this.#fleet.openAlarms;
    say(this.#badge, open === null ? "?" : open > 999 ? "999+" : String(open));
    mark(this.#badge, "hidden", open === 0);
    mark(this.#badge, "aria-label", open === null ? t("nav.open_alarms.unknown") : t("nav.open_alarms", {n: open}));
    mark(this.#badge, "role", "img");
  }

  /** The door is to be closed once modules are in, and those that wait behind it are not to be overlooked. */
  #enrolled() {
    const {open, waiting} = this.#enrolment;
    say(this.#waiting, waiting > 999 ? "999+" : String(waiting));
    mark(this.#waiting, "hidden", waiting === 0);
    mark(this.#waiting, "aria-label", t("nav.waiting", {n: waiting}));
    if (this.#urge.hidden === !open) return;
    put(this.#urge, open ? [icon("warning"), h("span", {}, t("policy.urge")), h("a", {href: address(["enrolment"])}, t("policy.title"))] : null);
    this.#urge.hidden = !open;
  }

  #linked() {
    const {linked} = this.#fleet;
    if (linked === false) {
      this.#timer ??= setTimeout(() => this.#lost(), LOST_AFTER_MS);
      return;
    }
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#found(linked);
  }

  #found(linked) {
    this.#banner.hidden = true;
    document.body.dataset.link = linked ? "live" : "wait";
    put(this.#link, h("span", {class: "dot", "aria-hidden": "true"}), h("span", {}, linked ? t("link.live") : t("link.wait")));
  }

  #lost() {
    document.body.dataset.link = "lost";
    put(this.#link, h("span", {class: "dot", "aria-hidden": "true"}), h("span", {}, t("link.lost")));
    const heard = this.#fleet.heardAt;
    put(
      this.#banner,
      icon("warning"),
      h("span", {}, heard === null ? t("link.lost.never") : t("link.lost.since", {time: clock(heard)})),
      h("button", {class: "small", on: {click: () => this.#fleet.hurry()}}, t("try.again")),
    );
    this.#banner.hidden = false;
  }

  #menu() {
    const panel = h(
      "div",
      {class: "menu", id: "menu", hidden: true},
      this.#choice("menu.language", "language", languages(), language(), (name) => {
        chooseLanguage(name);
        location.reload();
      }),
      this.#choice(
        "menu.theme",
        "theme",
        [
          ["auto", t("theme.auto")],
          ["light", t("theme.light")],
          ["dark", t("theme.dark")],
        ],
        document.documentElement.dataset.theme ?? "auto",
        chooseTheme,
      ),
      h("p", {class: "who"}, me.name ?? "", " · ", t(`role.${me.role}`)),
      me.csrf ? h("button", {on: {click: () => this.#signOut()}}, t("menu.signout")) : null,
    );
    const button = h("button", {class: "menu-button", "aria-expanded": "false", "aria-controls": "menu", "aria-label": t("menu.label")}, icon("menu"));
    const open = (yes) => {
      panel.hidden = !yes;
      mark(button, "aria-expanded", String(yes));
      if (yes) panel.querySelector("select, button").focus();
    };
    button.addEventListener("click", () => open(panel.hidden));
    const box = h("div", {class: "menu-box"}, button, panel);
    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !panel.hidden) {
        open(false);
        button.focus();
      }
    });
    box.addEventListener("focusout", (event) => {
      if (event.relatedTarget && !box.contains(event.relatedTarget)) open(false);
    });
    document.addEventListener("pointerdown", (event) => box.contains(event.target) || panel.hidden || open(false), {signal: this.#listening.signal});
    return box;
  }

  #choice(key, id, choices, chosen, choose) {
    const select = h(
      "select",
      {id: `menu-${id}`, on: {change: () => choose(select.value)}},
      choices.map(([value, text]) => h("option", {value, selected: value === chosen}, text)),
    );
    return h("div", {class: "field"}, h("label", {for: `menu-${id}`}, t(key)), select);
  }

  async #signOut() {
    this.#still.hidden = true;
    try {
      await signOut();
    } catch (error) {
      if (!(error instanceof Refused || error instanceof NoAnswer)) throw error;
      // The cookie is out of a page's reach: whoever comes next would be who we are.
      put(this.#still, icon("warning"), h("span", {}, t("signout.failed")), h("button", {class: "small", on: {click: () => this.#signOut()}}, t("try.again")));
      this.#still.hidden = false;
      return;
    }
    this.#leave();
  }
}

function chooseTheme(theme) {
  const root = document.documentElement;
  if (theme === "auto") delete root.dataset.theme;
  else root.dataset.theme = theme;
  try {
    if (theme === "auto") localStorage.removeItem("cmmd.theme");
    else localStorage.setItem("cmmd.theme", theme);
  } catch {
    /* for this page only, then */
  }
  dispatchEvent(new CustomEvent("cmmd-theme"));
}
