// What lies under the devices: coasts and a net of degrees, which need no internet; and tiles, where they are wanted.

import {h} from "../dom.js";
import {TILE_PX, project, unproject} from "./projection.js";

const STEPS = [30, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];
const COARSE_ZOOM = 9; // the coasts are that coarse: further in they would only mislead

/** Coasts in the world's square, of Natural Earth. */
export async function loadLand() {
  const answer = await fetch(new URL("../../map/land.json", import.meta.url));
  if (!answer.ok) return [];
  const {unit, rings} = await answer.json();
  return rings.map((deltas) => {
    const ring = [];
    let [x, y] = [0, 0];
    for (let place = 0; place < deltas.length; place += 2) {
      x += deltas[place];
      y += deltas[place + 1];
      ring.push(project(x / unit, y / unit));
    }
    return ring;
  });
}

const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Draw coasts and net. */
export function drawBase(canvas, view, land, tiled) {
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.round(view.width * ratio);
  canvas.height = Math.round(view.height * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  if (tiled) return;
  pen.fillStyle = variable("--map-water");
  pen.fillRect(0, 0, view.width, view.height);
  if (view.zoom < COARSE_ZOOM) {
    pen.beginPath();
    for (const ring of land) {
      ring.forEach(([x, y], place) => {
        const [left, top] = view.at(x, y);
        if (place) pen.lineTo(left, top);
        else pen.moveTo(left, top);
      });
      pen.closePath();
    }
    pen.fillStyle = variable("--map-land");
    pen.fill("evenodd");
    pen.strokeStyle = variable("--map-coast");
    pen.lineWidth = 1;
    pen.stroke();
  } else {
    pen.fillStyle = variable("--map-land");
    pen.fillRect(0, 0, view.width, view.height);
  }
  net(pen, view);
}

function net(pen, view) {
  const degree = view.world / 360;
  const step = STEPS.findLast((one) => one * degree > 90) ?? STEPS[0];
  const decimals = Math.max(0, -Math.floor(Math.log10(step)));
  const [west, north] = unproject(...view.under(0, 0));
  const [east, south] = unproject(...view.under(view.width, view.height));
  pen.strokeStyle = variable("--map-net");
  pen.fillStyle = variable("--muted");
  pen.lineWidth = 1;
  pen.font = "12px system-ui, sans-serif";
  const first = (value) => Math.ceil(value / step);
  for (let n = first(Math.max(west, -180)); n * step <= Math.min(east, 180); n++) {
    const left = Math.round(view.at(project(n * step, 0)[0], 0)[0]) + 0.5;
    line(pen, left, 0, left, view.height);
    pen.fillText(degrees(n * step, decimals, "E", "W"), left + 4, 14);
  }
  for (let n = first(Math.max(south, -85)); n * step <= Math.min(north, 85); n++) {
    const top = Math.round(view.at(0, project(0, n * step)[1])[1]) + 0.5;
    line(pen, 0, top, view.width, top);
    pen.fillText(degrees(n * step, decimals, "N", "S"), 4, top - 4);
  }
}

function line(pen, ...[fromX, fromY, toX, toY]) {
  pen.beginPath();
  pen.moveTo(fromX, fromY);
  pen.lineTo(toX, toY);
  pen.stroke();
}

const degrees = (value, decimals, plus, minus) => `${Math.abs(value).toFixed(decimals)}°${value > 1e-9 ? plus : value < -1e-9 ? minus : ""}`;

/** Tiles of somebody else's server: pictures that stay as long as they are in sight. */
export class TileLayer {
  #shown = new Map();

  constructor(url) {
    this.url = url;
    this.element = h("div", {class: "tiles"});
  }

  draw(view) {
    const zoom = Math.max(0, Math.min(19, Math.round(view.zoom)));
    const count = 2 ** zoom;
    const size = view.world / count;
    const [left, top] = view.at(0, 0);
    const wanted = new Set();
    for (let column = Math.max(0, Math.floor(-left / size)); column < count && left + column * size < view.width; column++) {
      for (let row = Math.max(0, Math.floor(-top / size)); row < count && top + row * size < view.height; row++) {
        const key = `${zoom}/${column}/${row}`;
        wanted.add(key);
        let tile = this.#shown.get(key);
        if (!tile) {
          tile = h("img", {
            alt: "",
            src: this.url.replace("{z}", zoom).replace("{x}", column).replace("{y}", row),
            referrerpolicy: "origin",
            decoding: "async",
            draggable: "false",
          });
          this.#shown.set(key, tile);
          this.element.append(tile);
        }
        const scale = size / TILE_PX;
        tile.style.transform = `translate(${left + column * size}px, ${top + row * size}px) scale(${scale})`;
      }
    }
    for (const [key, tile] of this.#shown) {
      if (!wanted.has(key)) {
        tile.remove();
        this.#shown.delete(key);
      }
    }
  }
}
