// Texts of the page's language: one table per language, text/*.json. The same keys in each: a test compares them.

const LANGUAGES = {en: "English", zh: "中文"};

let table = {};
let titles = {};

export const language = () => (document.documentElement.lang.startsWith("zh") ? "zh" : "en");
export const languages = () => Object.entries(LANGUAGES);

async function load(name) {
  const answer = await fetch(new URL(`../text/${name}.json`, import.meta.url));
  if (!answer.ok) throw new Error(`text/${name}.json: ${answer.status}`);
  return answer.json();
}

/** Fetch the table; before it is there, t() gives keys. */
export async function loadTexts() {
  const name = language();
  [table, titles] = await Promise.all([load(name), name === "zh" ? load("zh-titles") : {}]);
}

/** Choose a language for this browser, and start over with it. */
export function chooseLanguage(name) {
  try {
    localStorage.setItem("cmmd.language", name);
  } catch {
    /* for this page only, then */
  }
  document.documentElement.lang = name === "zh" ? "zh-CN" : "en";
}

/** The text of a key, with {places} filled in. */
export function t(key, values = {}) {
  const text = table[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (place, name) => (name in values ? String(values[name]) : place));
}

/** The text of a key that need not be there; else what is given. */
export const tOr = (key, otherwise) => table[key] ?? otherwise;

/** What a controller's profile calls something, in the page's language. An owner's own titles stay as they are. */
export const titled = (title) => titles[title] ?? title;
