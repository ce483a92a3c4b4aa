// Where the devices are. Works without internet; tiles come from where the configuration says.

import {ago, number} from "../format.js";
import {STATES} from "../fleet.js";
import {h, icon, put, throttled} from "../dom.js";
import {t} from "../i18n.js";
import {lockText} from "../lock.js";
import {TileLayer, drawBase, loadLand} from "../map/base.js";
import {View, clusters, project, scaleBar, unproject} from "../map/projection.js";
import {address, amend} from "../route.js";
import {stateIcon} from "../fleetrow.js";

const PAN_PX = 90;
const MOST_LISTED = 40;

export function mapPage({main, fleet, route}) {
  return new MapPage(main, fleet, route);
}

class MapPage {
  #fleet;
  #view = new View();
  #land = [];
  #places = [];
  #placed = new Map();
  #elsewhere = false;
  #fitted = false;
  #growing = true;
  #frame = 0;
  #pointers = new Map();
  #markers = new Map();
  #open = null;
  #listening = new AbortController();

  constructor(main, fleet, route) {
    this.#fleet = fleet;
    document.title = `${t("nav.map")} · cmmd`;
    const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.getAttribute("content") ?? "";
    this.tiles = meta("cmmd-tiles") ? new TileLayer(meta("cmmd-tiles")) : null;
    this.canvas = h("canvas", {"aria-hidden": "true"});
    this.marks = h("div", {class: "marks"});
    this.scale = h("div", {class: "scale"}, (this.scaleText = h("span", {})), (this.scaleLine = h("span", {class: "scale-line"})));
    this.popup = h("div", {class: "popup card", hidden: true, role: "group", "aria-label": t("map.selected")});
    const button = (text, label, call) => h("button", {"aria-label": label, title: label, on: {click: call}}, text);
    this.box = h(
      "div",
      {class: "map", tabindex: "0", role: "application", "aria-label": t("map.label")},
      this.tiles?.element,
      this.canvas,
      this.marks,
      this.scale,
      h(
        "div",
        {class: "map-buttons"},
        button("+", t("map.in"), () => this.#zoom(1)),
        button("−", t("map.out"), () => this.#zoom(-1)),
        button("⤢", t("map.fit"), () => this.#fit()),
      ),
      this.popup,
      meta("cmmd-tiles-credit") ? h("p", {class: "credit"}, meta("cmmd-tiles-credit")) : null,
    );
    this.note = h("p", {class: "muted", role: "status"});
    put(main, h("h1", {class: "hidden"}, t("nav.map")), h("div", {class: "map-page"}, this.box, h("div", {class: "map-foot"}, this.note, this.#legend())));
    this.#listen();
    this.#read(route);
    loadLand().then((land) => {
      this.#land = land;
      this.#soon();
    });
    this.#all();
    fleet.follow();
  }

  follow(route) {
    this.#read(route);
    this.#soon();
  }

  close() {
    this.#listening.abort();
    this.#resized.disconnect();
    cancelAnimationFrame(this.#frame);
    this.remember.cancel();
    this.renew.cancel();
  }

  #legend() {
    return h(
      "ul",
      {class: "legend"},
      STATES.map((state) => h("li", {class: `s-${state}`}, icon(state), t(`state.${state}`))),
    );
  }

  #read({query}) {
    const [latitude, longitude, zoom] = (query.get("at") ?? "").split(",").map(Number);
    if (![latitude, longitude, zoom].every(Number.isFinite)) return;
    [this.#view.x, this.#view.y] = project(longitude, latitude);
    this.#view.zoom = zoom;
    this.#fitted = true;
    this.#growing = false;
  }

  #resized = new ResizeObserver(([{contentRect}]) => {
    this.#view.width = contentRect.width;
    this.#view.height = contentRect.height;
    if (!this.#fitted) this.#fit();
    this.#soon();
  });

  #listen() {
    const {signal} = this.#listening;
    this.#resized.observe(this.box);
    this.remember = throttled(400, () => {
      const [longitude, latitude] = unproject(this.#view.x, this.#view.y);
      amend(["map"], {at: [latitude.toFixed(4), longitude.toFixed(4), this.#view.zoom.toFixed(2)].join(",")});
    });
    this.#fleet.addEventListener("all", () => this.#all(), {signal});
    this.renew = throttled(1000, () => (this.#elsewhere ? this.#all() : this.#soon()));
    this.#fleet.addEventListener(
      "rows",
      ({detail}) => {
        this.#elsewhere ||= detail.some((row) => this.#placed.get(row.hostid) !== told(row));
        this.renew();
      },
      {signal},
    );
    addEventListener("cmmd-theme", () => this.#soon(), {signal});
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#soon(), {signal});
    this.box.addEventListener("keydown", (event) => this.#key(event));
    this.box.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const {left, top} = this.box.getBoundingClientRect();
        this.#zoom(-event.deltaY / (event.deltaMode ? 3 : 180), event.clientX - left, event.clientY - top);
      },
      {passive: false},
    );
    this.box.addEventListener("pointerdown", (event) => {
      if (event.target.closest("button, a, .popup")) return;
      this.box.setPointerCapture(event.pointerId);
      this.#pointers.set(event.pointerId, [event.clientX, event.clientY]);
      this.#choose(null);
    });
    this.box.addEventListener("pointermove", (event) => this.#drag(event));
    for (const kind of ["pointerup", "pointercancel"]) this.box.addEventListener(kind, (event) => this.#pointers.delete(event.pointerId));
  }

  #drag(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    const other = [...this.#pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const {left, top} = this.box.getBoundingClientRect();
      const distance = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]);
      this.#zoom(Math.log2(distance(now) / Math.max(distance(before), 1)), (now[0] + other[0]) / 2 - left, (now[1] + other[1]) / 2 - top);
    } else {
      this.#view.pan(now[0] - before[0], now[1] - before[1]);
      this.#moved();
    }
    this.#pointers.set(event.pointerId, now);
  }

  #key(event) {
    if (event.key === "Escape" && this.#open) {
      this.#choose(null);
      this.box.focus();
      return;
    }
    if (event.target !== this.box || event.ctrlKey || event.metaKey || event.altKey) return;
    const pan = {ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[event.key];
    if (pan) {
      this.#view.pan(pan[0] * PAN_PX, pan[1] * PAN_PX);
      this.#moved();
    } else if (event.key === "+" || event.key === "=") this.#zoom(1);
    else if (event.key === "-") this.#zoom(-1);
    else if (event.key === "0") this.#fit();
    else return;
    event.preventDefault();
  }

  #zoom(steps, left, top) {
    this.#view.zoomBy(steps, left, top);
    this.#moved();
  }

  #fit() {
    if (!this.#places.length || this.#view.width <= 1) return;
    this.#fitted = true;
    this.#view.fit(this.#places.map((one) => [one.x, one.y]));
    this.#soon();
  }

  #moved() {
    this.#growing = false;
    this.remember();
    this.#soon();
  }

  #all() {
    this.#places = [];
    this.#placed = new Map();
    this.#elsewhere = false;
    for (const row of this.#fleet.rows.values()) {
      this.#placed.set(row.hostid, told(row));
      if (row.longitude === null || row.latitude === null) continue;
      const [x, y] = project(row.longitude, row.latitude);
      this.#places.push({x, y, hostid: row.hostid});
    }
    put(this.note, this.#fleet.rows.size ? t("map.count", {n: number(this.#places.length), of: number(this.#fleet.rows.size)}) : "");
    // As long as devices still come, and nobody has moved it, the map grows with them.
    if (!this.#fitted || this.#growing) this.#fit();
    this.#growing = this.#growing && !this.#fleet.complete;
    this.#soon();
  }

  #soon() {
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#frame = 0;
    if (this.#view.width <= 1) return;
    this.tiles?.draw(this.#view);
    drawBase(this.canvas, this.#view, this.#land, this.tiles !== null);
    const {metres, pixels} = scaleBar(this.#view.metres);
    this.scaleText.textContent = metres >= 1000 ? `${number(metres / 1000)} km` : `${number(metres)} m`;
    this.scaleLine.style.width = `${pixels}px`;
    this.#drawMarks();
  }

  /** Markers stay the same elements as long as their members do, so that the focus stays where it is. */
  #drawMarks() {
    const shown = new Map();
    for (const cluster of clusters(this.#places, this.#view)) {
      const rows = cluster.members.map((one) => this.#fleet.rows.get(one.hostid)).filter(Boolean);
      if (!rows.length) continue;
      const key = rows.length === 1 ? rows[0].hostid : `${rows.length} ${rows[0].hostid}`;
      const marker = this.#markers.get(key) ?? {element: h("button", {on: {click: () => this.#pick(marker)}})};
      marker.rows = rows;
      marker.cluster = cluster;
      this.#showMark(marker);
      const [left, top] = this.#view.at(cluster.x, cluster.y);
      marker.element.style.transform = `translate(${left.toFixed(1)}px, ${top.toFixed(1)}px) translate(-50%, -50%)`;
      if (!marker.element.isConnected) this.marks.append(marker.element);
      shown.set(key, marker);
    }
    named(shown.values(), this.#view);
    for (const [key, {element}] of this.#markers) if (!shown.has(key)) element.remove();
    this.#markers = shown;
    if (this.#open) this.#place();
  }

  #showMark(marker) {
    const {rows, element} = marker;
    const counts = new Map();
    for (const row of rows) counts.set(row.state, (counts.get(row.state) ?? 0) + 1);
    const state = STATES.find((one) => counts.has(one));
    const locked = rows.filter((row) => row.locked_by);
    const key = JSON.stringify([
      rows.length === 1 ? [state, rows[0].severity, rows[0].hostname] : [...counts],
      locked.map((row) => [row.hostid, lockText(row)]),
    ]);
    if (marker.key === key) return;
    marker.key = key;
    if (marker === this.#open) this.#list();
    const worst = rows.find((row) => row.state === state);
    element.className = `mark s-${state}${rows.length > 1 ? " cluster" : ""}`;
    if (rows.length === 1) {
      element.title = worst.hostname || worst.hostid;
      put(element, stateIcon(worst), h("span", {class: "mark-name"}, worst.hostname || worst.hostid), locked.length ? icon("lock") : null);
      element.setAttribute("aria-label", [`${worst.hostname || worst.hostid}: ${t(`state.${state}`)}`, lockText(worst)].filter(Boolean).join(". "));
    } else {
      const bad = counts.get("alarm");
      put(
        element,
        h("b", {}, number(rows.length)),
        bad ? h("span", {class: "bad"}, icon("alarm"), number(bad)) : null,
        locked.length ? h("span", {class: "locked"}, icon("lock"), number(locked.length)) : null,
      );
      element.setAttribute(
        "aria-label",
        t("map.cluster", {
          n: rows.length,
          states: STATES.filter((one) => counts.has(one))
            .map((one) => `${t(`state.${one}`)} ${counts.get(one)}`)
            .concat(locked.length ? `${t("lock.mark")} ${locked.length}` : [])
            .join(", "),
        }),
      );
    }
  }

  #pick(marker) {
    const {members} = marker.cluster;
    const spread = members.some((one) => Math.hypot(one.x - members[0].x, one.y - members[0].y) * 2 ** 26 > 60);
    if (members.length > 1 && spread && this.#view.zoom < 17) {
      this.#view.fit(
        members.map((one) => [one.x, one.y]),
        Math.min(17, this.#view.zoom + 6),
      );
      this.#choose(null);
      this.#moved();
      return;
    }
    this.#choose(marker);
  }

  #choose(marker) {
    this.#open = marker;
    this.popup.hidden = marker === null;
    if (!marker) return;
    this.#list();
    this.#place();
    this.popup.querySelector("a").focus({preventScroll: true});
  }

  /** What is at the place that was chosen; the focus stays with its device. */
  #list() {
    const marker = this.#open;
    const now = this.#fleet.now();
    const held = this.popup.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    put(
      this.popup,
      h(
        "ul",
        {},
        marker.rows
          .slice(0, MOST_LISTED)
          .map((row) =>
            h(
              "li",
              {class: `s-${row.state}`},
              stateIcon(row),
              h(
                "div",
                {},
                h("a", {href: address(["devices", row.hostid])}, row.hostname || row.hostid),
                h("p", {class: "muted"}, [t(`state.${row.state}`), row.mode ? t(`mode.${row.mode}`) : null, ago(row.at, now)].filter(Boolean).join(" · ")),
                row.locked_by ? h("p", {class: "locked-by"}, icon("lock"), lockText(row)) : null,
              ),
            ),
          ),
      ),
      marker.rows.length > MOST_LISTED ? h("p", {class: "muted"}, t("map.more", {n: marker.rows.length - MOST_LISTED})) : null,
    );
    if (held) ([...this.popup.querySelectorAll("a")].find((one) => one.getAttribute("href") === held) ?? this.box).focus({preventScroll: true});
  }

  #place() {
    const [left, top] = this.#view.at(this.#open.cluster.x, this.#open.cluster.y);
    const {offsetWidth, offsetHeight} = this.popup;
    const x = Math.max(8, Math.min(this.#view.width - offsetWidth - 8, left - offsetWidth / 2));
    const y = top - offsetHeight - 22 > 8 ? top - offsetHeight - 22 : Math.min(top + 22, this.#view.height - offsetHeight - 8);
    this.popup.style.transform = `translate(${x}px, ${Math.max(8, y)}px)`;
  }
}

/** Where a device says that it is, to compare. */
const told = ({longitude, latitude}) => `${longitude} ${latitude}`;

/** Names stand beside single devices where they hide nothing. */
function named(markers, view) {
  const boxes = [...markers].map((marker) => {
    const [left, top] = view.at(marker.cluster.x, marker.cluster.y);
    const single = marker.rows.length === 1;
    const half = single ? 24 + 4.5 * Math.min(24, (marker.rows[0].hostname || marker.rows[0].hostid).length) : 26;
    return {marker, left, top, half, single};
  });
  for (const one of boxes) {
    if (!one.single) continue;
    const hides = boxes.some(
      (other) => other !== one && Math.abs(other.top - one.top) < 34 && Math.abs(other.left - one.left) < one.half + (other.single ? other.half : 26),
    );
    one.marker.element.classList.toggle("bare", hides);
  }
}
