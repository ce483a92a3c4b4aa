// Sign-in: a token for a session.

import {NoAnswer, Refused} from "../api.js";
import {h, icon, put} from "../dom.js";
import {chooseLanguage, language, languages, loadTexts, t} from "../i18n.js";
import {signIn} from "../session.js";
import {why} from "../why.js";

const SLOW_MS = 1_500;

export function signInPage(app, {reason, done}) {
  const wrong = h("p", {class: "wrong", id: "wrong", role: "alert"}, reason ? t(reason) : "");
  const told = h("p", {class: "muted", role: "status"});
  const token = h("input", {
    id: "token",
    type: "password",
    autocomplete: "current-password",
    required: true,
    spellcheck: "false",
    "aria-describedby": "wrong token-help",
  });
  const button = h("button", {class: "primary", type: "submit"}, t("signin.do"));
  const form = h(
    "form",
    {class: "signin card"},
    h("h1", {}, t("signin.title")),
    h("label", {for: "token"}, t("signin.token")),
    token,
    h("p", {id: "token-help", class: "muted"}, t("signin.help"), " ", h("code", {}, "cmmctl token add NAME")),
    wrong,
    told,
    button,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    put(wrong);
    const slow = setTimeout(() => put(told, icon("wait"), t("signin.slow")), SLOW_MS);
    try {
      await signIn(token.value.trim());
      await done();
    } catch (error) {
      put(wrong, say(error));
      token.select();
      token.focus();
    } finally {
      clearTimeout(slow);
      put(told);
      button.disabled = false;
    }
  });
  const others = languages()
    .filter(([name]) => name !== language())
    .map(([name, text]) =>
      h(
        "button",
        {
          class: "plain",
          lang: name,
          on: {
            click: async () => {
              chooseLanguage(name);
              await loadTexts();
              signInPage(app, {reason, done});
            },
          },
        },
        text,
      ),
    );
  put(app, h("main", {class: "alone"}, h("p", {class: "brand"}, "cmmd"), form, h("p", {}, others)));
  document.title = `${t("signin.title")} · cmmd`;
  token.focus();
}

function say(error) {
  if (error instanceof NoAnswer) return t("error.no_answer");
  if (error instanceof Refused) return error.status === 401 ? t("signin.wrong") : t("error.refused", {why: why(error)});
  throw error;
}
