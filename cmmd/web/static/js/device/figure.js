// Buckets of readings as a figure of Plotly.

const CHART_PX = 190;
const FEW = 80;
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];

const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A bucket's middle, as Plotly takes times: local, without a zone. */
function times({since, width, counts}) {
  return counts.map((_, place) => {
    const at = since + (place + 0.5) * width;
    return new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 23);
  });
}

/** With few readings in many buckets, empty ones between two are no gap; more than three times the usual distance is. */
function gapless(values, counts) {
  const places = [];
  for (let place = 0; place < counts.length; place++) if (counts[place]) places.push(place);
  const steps = places.slice(1).map((place, index) => place - places[index]).sort((a, b) => a - b);
  const usual = steps.length ? steps[Math.floor(steps.length / 2)] : 1;
  const kept = [];
  let before = null;
  for (const place of places) {
    if (before !== null && place - before > 3 * usual) kept.push([before + 1, null]);
    kept.push([place, values[place]]);
    before = place;
  }
  return kept;
}

/** Data and layout: one chart below the other for each unit. */
export function figure(answer, titles, element) {
  const units = [...new Set(answer.series.map((one) => one.unit))];
  const x = times(answer);
  const ink = variable("--ink");
  const line = variable("--line");
  const colors = Array.from({length: 8}, (_, place) => variable(`--chart-${place + 1}`));
  const data = [];
  answer.series.forEach((series, place) => {
    const axis = units.indexOf(series.unit);
    const common = {cliponaxis: false, x: [], y: [], xaxis: "x", yaxis: axis ? `y${axis + 1}` : "y", type: "scatter", mode: "lines", connectgaps: false};
    const color = colors[place % colors.length];
    const title = (titles.get(series.name) ?? series.name).replaceAll("<", "&lt;"); // Plotly takes some HTML
    const of = (values) => {
      const kept = gapless(values, answer.counts);
      return {x: kept.map(([at]) => x[at]), y: kept.map(([, value]) => value)};
    };
    const banded = series.min.some((low, at) => low !== null && series.max[at] !== low);
    if (banded) {
      data.push({...common, ...of(series.min), line: {width: 0, color}, hoverinfo: "skip", showlegend: false, legendgroup: series.name});
      data.push({...common, ...of(series.max), line: {width: 0, color}, fill: "tonexty", fillcolor: `${color}33`, hoverinfo: "skip", showlegend: false, legendgroup: series.name});
    }
    const mean = of(series.mean);
    const few = mean.y.filter((value) => value !== null).length < FEW; // a line through one point is not to be seen
    data.push({...common, ...mean, mode: few ? "lines+markers" : "lines", marker: {size: 5, color}, name: title, legendgroup: series.name, line: {width: 2, color, dash: DASHES[Math.floor(place / 2) % DASHES.length], shape: "linear"},
      hovertemplate: `%{y} ${series.unit}<extra>${title}</extra>`});
  });
  const gap = units.length > 1 ? 0.09 / units.length + 0.02 : 0;
  const part = (1 - gap * (units.length - 1)) / units.length;
  const axes = Object.fromEntries(units.map((unit, place) => {
    const top = 1 - place * (part + gap);
    return [`yaxis${place ? place + 1 : ""}`, {
      domain: [Math.max(0, top - part), top], title: {text: unit, standoff: 6}, gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true, fixedrange: true,
    }];
  }));
  const start = new Date(answer.since - new Date(answer.since).getTimezoneOffset() * 60_000).toISOString().slice(0, 23);
  const end = new Date(answer.until - new Date(answer.until).getTimezoneOffset() * 60_000).toISOString().slice(0, 23);
  const layout = {
    height: CHART_PX * units.length + 110, margin: {l: 56, r: 14, t: 40, b: 40}, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: {family: getComputedStyle(element).fontFamily, size: 13, color: ink}, hovermode: "x unified", hoverlabel: {bgcolor: variable("--surface"), bordercolor: line, font: {color: ink}},
    legend: {orientation: "h", y: 1 + 12 / (CHART_PX * units.length), yanchor: "bottom", x: 0}, showlegend: true, dragmode: false,
    xaxis: {type: "date", range: [start, end], gridcolor: line, linecolor: line, anchor: units.length > 1 ? `y${units.length}` : "y", fixedrange: true}, ...axes,
  };
  return {data, layout};
}
