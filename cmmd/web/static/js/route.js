// The page's address behind the #: /devices/HOSTID/charts?points=load. It can be sent to somebody, and bookmarked.

export function readRoute() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return {
    path: path
      .split("/")
      .filter(Boolean)
      .map((part) => {
        try {
          return decodeURIComponent(part);
        } catch {
          return part;
        }
      }),
    query: new URLSearchParams(query),
  };
}

/** The address of a page, for links. */
export function address(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value);
  const text = given.length ? `?${new URLSearchParams(given)}` : "";
  return `#/${path.map(encodeURIComponent).join("/")}${text}`;
}

/** Go on as if the page had had that address all along: a filter is no step of the back button. */
export function amend(path, query = {}) {
  history.replaceState(null, "", address(path, query));
}
