// Buckets of readings as a figure of Plotly.

const CHART_PX = 190;
const FEW = 80;
const DOT_PX = 5;
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];

const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A time as Plotly takes it: local, without a zone. */
const local = (at) => new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 23);

/**
 * The longest distance between readings that is no gap: three times the usual one, in buckets.
 *
 * Readings of changes come in clusters between those of the interval, so neither the mean distance nor the median is
 * the interval: it is the longest distance that is not rare. `interval`: in milliseconds, where it is known.
 */
export function longestStep({counts, width}, interval = null) {
  const places = counts.flatMap((count, place) => (count ? [place] : []));
  const steps = places
    .slice(1)
    .map((place, index) => place - places[index])
    .sort((a, b) => b - a);
  const enough = Math.min(5, Math.floor(steps.length / 2) + 1); // fewer are rare
  const usual = steps.find((step, index) => step <= 1.5 * (steps[index + enough - 1] ?? 0)) ?? steps[Math.floor(steps.length / 2)];
  // readings of an interval lie in buckets up to one more apart than it is long
  return 3 * Math.max(1, usual ?? 1, interval === null ? 0 : Math.ceil(interval / width));
}

/** The places of the readings with a value, in stretches without a gap. */
export function stretches(values, counts, longest) {
  const found = [];
  let before = -Infinity;
  counts.forEach((count, place) => {
    if (!count) return;
    if (values[place] === null)
      before = -Infinity; // a reading in which it was not known is a gap, too
    else {
      if (place - before > longest) found.push([]);
      found.at(-1).push(place);
      before = place;
    }
  });
  return found;
}

/** One closed polygon for each stretch: along the highest values, and back along the lowest. [place, value] or null between. */
export function band(low, high, all) {
  return all.flatMap((stretch, index) => {
    const wide = stretch.length > 1 ? stretch : [stretch[0] - 0.5, stretch[0] + 0.5]; // one alone is to be seen, too
    const value = (values, place) => values[stretch.length > 1 ? place : stretch[0]];
    const around = [...wide.map((place) => [place, value(high, place)]), ...[...wide].reverse().map((place) => [place, value(low, place)])];
    return [...(index ? [null] : []), ...around, around[0]];
  });
}

/** Data and layout: one chart below the other for each unit. */
export function figure(answer, titles, element, interval = null) {
  const units = [...new Set(answer.series.map((one) => one.unit))];
  const {counts, since, width} = answer;
  const longest = longestStep(answer, interval);
  const at = (place) => local(since + (place + 0.5) * width);
  const drawn = (points) => ({x: points.map((one) => one && at(one[0])), y: points.map((one) => one && one[1])});
  const ink = variable("--ink");
  const line = variable("--line");
  const colors = Array.from({length: 8}, (_, place) => variable(`--chart-${place + 1}`));
  const data = [];
  answer.series.forEach((series, place) => {
    const axis = units.indexOf(series.unit);
    const common = {cliponaxis: false, x: [], y: [], xaxis: "x", yaxis: axis ? `y${axis + 1}` : "y", type: "scatter", mode: "lines", connectgaps: false};
    const color = colors[place % colors.length];
    const title = (titles.get(series.name) ?? series.name).replaceAll("<", "&lt;"); // Plotly takes some HTML
    const all = stretches(series.mean, counts, longest);
    if (series.min.some((low, place) => low !== null && series.max[place] !== low)) {
      data.push({
        ...common,
        ...drawn(band(series.min, series.max, all)),
        line: {width: 0, color},
        fill: "toself",
        fillcolor: `${color}33`,
        hoverinfo: "skip",
        showlegend: false,
        legendgroup: series.name,
      });
    }
    const few = all.flat().length < FEW;
    const dots = all.flatMap((stretch, index) => [...(index ? [0] : []), ...stretch.map(() => (few || stretch.length === 1 ? DOT_PX : 0))]);
    const dotted = dots.some(Boolean); // a line through one point is not to be seen
    data.push({
      ...common,
      ...drawn(all.flatMap((stretch, index) => [...(index ? [null] : []), ...stretch.map((place) => [place, series.mean[place]])])),
      mode: dotted ? "lines+markers" : "lines",
      marker: {size: few ? DOT_PX : dots, color},
      name: title,
      legendgroup: series.name,
      line: {width: 2, color, dash: DASHES[Math.floor(place / 2) % DASHES.length], shape: "linear"},
      hovertemplate: `%{y} ${series.unit}<extra>${title}</extra>`,
    });
  });
  const gap = units.length > 1 ? 0.09 / units.length + 0.02 : 0;
  const part = (1 - gap * (units.length - 1)) / units.length;
  const axes = Object.fromEntries(
    units.map((unit, place) => {
      const top = 1 - place * (part + gap);
      return [
        `yaxis${place ? place + 1 : ""}`,
        {
          domain: [Math.max(0, top - part), top],
          title: {text: unit, standoff: 6},
          gridcolor: line,
          zerolinecolor: line,
          linecolor: line,
          automargin: true,
          fixedrange: true,
        },
      ];
    }),
  );
  const layout = {
    height: CHART_PX * units.length + 110,
    margin: {l: 56, r: 14, t: 40, b: 40},
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: {family: getComputedStyle(element).fontFamily, size: 13, color: ink},
    hovermode: "x unified",
    hoverlabel: {bgcolor: variable("--surface"), bordercolor: line, font: {color: ink}},
    legend: {orientation: "h", y: 1 + 12 / (CHART_PX * units.length), yanchor: "bottom", x: 0},
    showlegend: true,
    dragmode: false,
    xaxis: {
      type: "date",
      range: [local(since), local(answer.until)],
      tickangle: 0,
      nticks: Math.max(2, Math.min(10, Math.floor(element.clientWidth / 110))),
      gridcolor: line,
      linecolor: line,
      anchor: units.length > 1 ? `y${units.length}` : "y",
      fixedrange: true,
    },
    ...axes,
  };
  return {data, layout};
}
