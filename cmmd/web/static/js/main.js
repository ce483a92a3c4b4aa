// Where everything begins: texts, who we are, the shell, and which page.

import {NoAnswer, whenSignedOut} from "./api.js";
import {h, put} from "./dom.js";
import {Fleet} from "./fleet.js";
import {loadTexts, t} from "./i18n.js";
import {readRoute} from "./route.js";
import {me, recall, signInByLink} from "./session.js";
import {Shell} from "./shell.js";
import {alarmsPage} from "./pages/alarms.js";
import {devicePage} from "./pages/device.js";
import {enrolmentPage} from "./pages/enrolment.js";
import {fleetPage} from "./pages/fleet.js";
import {mapPage} from "./pages/map.js";
import {signInPage} from "./pages/signin.js";

const PAGES = {"": fleetPage, devices: devicePage, alarms: alarmsPage, map: mapPage, enrolment: enrolmentPage};

const HIDDEN_MS = 10_000; // a glance at another tab is none

const app = document.getElementById("app");
const fleet = new Fleet();
let shell = null;
let page = null;
let shown = null;
let leaving = null;

function close() {
  page?.close?.();
  page = null;
  shown = null;
}

/** Show the page that the address names; only its parameters have changed: tell the page that is there. */
function show() {
  const route = readRoute();
  const name = route.path[0] ?? "";
  const place = JSON.stringify(route.path.slice(0, 2));
  if (page && place === shown) {
    page.follow?.(route);
    return;
  }
  const first = shown === null;
  close();
  shown = place;
  const open = PAGES[name] ?? fleetPage;
  shell.at(PAGES[name] ? name : "");
  page = open({main: shell.main, fleet, route});
  if (!first) shell.arrive();
}

async function enter() {
  shell = new Shell(app, fleet, {leave: signOutPage});
  show();
}

function signOutPage(reason = null) {
  close();
  fleet.stop();
  shell?.close();
  shell = null;
  signInPage(app, {reason, done: enter});
}

async function begin() {
  try {
    await loadTexts();
    const linked = location.hash.startsWith("#link=");
    if ((await signInByLink()) || (await recall())) await enter();
    else if (linked) signOutPage("signin.link");
    else signOutPage();
  } catch (error) {
    if (!(error instanceof NoAnswer)) console.error(error);
    put(
      app,
      h(
        "main",
        {class: "alone"},
        h("h1", {}, "cmmd"),
        h("p", {role: "alert"}, t("start.failed")),
        h("button", {class: "primary", on: {click: () => location.reload()}}, t("try.again")),
      ),
    );
  }
}

whenSignedOut(() => {
  if (shell) signOutPage(me.name ? "signin.ended" : null);
});
addEventListener("hashchange", () => shell && show());
addEventListener("online", () => fleet.hurry());

/** A tab that nobody sees holds no connection for long: there are few of them, and all tabs share them. */
function looked() {
  clearTimeout(leaving);
  if (document.hidden) leaving = setTimeout(() => fleet.rest(), HIDDEN_MS);
  else fleet.hurry();
}

document.addEventListener("visibilitychange", looked);
looked();

begin();
