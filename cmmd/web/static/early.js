// Before anything is painted: the theme and the language that this browser has chosen.
(() => {
  const root = document.documentElement;
  let theme = null;
  let language = null;
  try {
    theme = localStorage.getItem("cmmd.theme");
    language = localStorage.getItem("cmmd.language");
  } catch {
    /* storage is switched off: the browser's own choices count */
  }
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  const wanted = language ? [language] : navigator.languages;
  const found = wanted.find((one) => /^(zh|en)\b/i.test(one)) ?? "en";
  root.lang = /^zh/i.test(found) ? "zh-CN" : "en";
})();
