// Mercator, as all tile servers have it: the world is a square from 0 to 1, north is up.

export const TILE_PX = 256;
export const MOST_ZOOM = 18;
const MOST_LATITUDE = 85.0511;
const EQUATOR_M = 40_075_016.7;

export function project(longitude, latitude) {
  const bounded = Math.max(-MOST_LATITUDE, Math.min(MOST_LATITUDE, latitude));
  const sine = Math.sin((bounded * Math.PI) / 180);
  return [(longitude + 180) / 360, 0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI)];
}

export function unproject(x, y) {
  return [x * 360 - 180, (Math.atan(Math.sinh(Math.PI * (1 - 2 * y))) * 180) / Math.PI];
}

/** What part of the world is seen: the middle, and how many pixels the world is wide. */
export class View {
  constructor(x = 0.5, y = 0.45, zoom = 2) {
    this.x = x;
    this.y = y;
    this.zoom = zoom;
    this.width = 1;
    this.height = 1;
  }

  get world() {
    return TILE_PX * 2 ** this.zoom;
  }

  /** Where a place of the world is, in pixels of the view. */
  at(x, y) {
    return [(x - this.x) * this.world + this.width / 2, (y - this.y) * this.world + this.height / 2];
  }

  /** Which place of the world is at a pixel. */
  under(left, top) {
    return [this.x + (left - this.width / 2) / this.world, this.y + (top - this.height / 2) / this.world];
  }

  pan(dx, dy) {
    this.x -= dx / this.world;
    this.y -= dy / this.world;
    this.#bound();
  }

  /** Zoom by so many steps; what is at a pixel stays there. */
  zoomBy(steps, left = this.width / 2, top = this.height / 2) {
    const [x, y] = this.under(left, top);
    this.zoom = Math.max(this.leastZoom, Math.min(MOST_ZOOM, this.zoom + steps));
    this.x = x - (left - this.width / 2) / this.world;
    this.y = y - (top - this.height / 2) / this.world;
    this.#bound();
  }

  get leastZoom() {
    return Math.max(0, Math.log2(Math.max(this.width / 1.6, 200) / TILE_PX) - 0.5);
  }

  /** See all of these places. */
  fit(places, most = 13) {
    if (!places.length) return;
    const xs = places.map(([x]) => x);
    const ys = places.map(([, y]) => y);
    const [left, right] = bounds(xs);
    const [top, bottom] = bounds(ys);
    this.x = (left + right) / 2;
    this.y = (top + bottom) / 2;
    const room = Math.min((this.width - 90) / Math.max(right - left, 1e-9), (this.height - 90) / Math.max(bottom - top, 1e-9));
    this.zoom = Math.max(this.leastZoom, Math.min(most, Math.log2(Math.max(room, 1) / TILE_PX)));
    this.#bound();
  }

  /** Metres that a pixel is, in the middle. */
  get metres() {
    const [, latitude] = unproject(this.x, this.y);
    return (EQUATOR_M * Math.cos((latitude * Math.PI) / 180)) / this.world;
  }

  #bound() {
    this.x = Math.max(0, Math.min(1, this.x));
    this.y = Math.max(0, Math.min(1, this.y));
  }
}

function bounds(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** A round length that is at most so many pixels: {metres, pixels}. */
export function scaleBar(metresPerPixel, most = 130) {
  const room = metresPerPixel * most;
  const ten = 10 ** Math.floor(Math.log10(room));
  const metres = [5, 2, 1].map((one) => one * ten).find((one) => one <= room);
  return {metres, pixels: metres / metresPerPixel};
}

/** Gather places that would overlap: {x, y, members}; a place is {x, y, ...} in the world. */
export function clusters(places, view, distance = 54) {
  const cells = new Map();
  for (const place of places) {
    const [left, top] = view.at(place.x, place.y);
    if (left < -60 || top < -60 || left > view.width + 60 || top > view.height + 60) continue;
    const column = Math.floor((place.x * view.world) / distance);
    const line = Math.floor((place.y * view.world) / distance);
    let found = null;
    for (let dx = -1; dx <= 1 && !found; dx++) {
      for (let dy = -1; dy <= 1 && !found; dy++) {
        const cluster = cells.get(`${column + dx} ${line + dy}`);
        if (cluster && Math.hypot(cluster.x - place.x, cluster.y - place.y) * view.world < distance * 0.75) found = cluster;
      }
    }
    const own = `${column} ${line}`;
    found ??= cells.get(own);
    if (found) {
      const count = found.members.push(place);
      found.x += (place.x - found.x) / count;
      found.y += (place.y - found.y) / count;
    } else {
      cells.set(own, {x: place.x, y: place.y, members: [place]});
    }
  }
  return [...cells.values()];
}
