const data = JSON.parse(document.getElementById("data").textContent);
const percent = (share, digits = 1) => share === null ? "–" : minus((100 * share).toFixed(digits)) + "\u00a0%";
const minus = (text) => (Number(text) === 0 ? text.replace("-", "") : text.replace("-", "\u2212"));

/** An SVG element; text goes in as text, so names stay names whatever they hold. */
function svg(name, attributes = {}, text = null) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== null) element.textContent = text;
  return element;
}

/** At most `most` + 1 round numbers that span low to high. */
function rounds(low, high, most) {
  const rough = Math.max(high - low, 1e-9) / most;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= rough * 0.999);
  const found = [];
  for (let k = Math.floor(low / step + 1e-9); k <= Math.ceil(high / step - 1e-9); k += 1) found.push(Number((k * step).toPrecision(10)));
  return found;
}

/** An empty chart in a host with axes; `at` places values, `add` draws. Without names for y there is no such axis. */
function frame(host, { x, y, xTicks, yTicks, xName, yName, xText = percent, yText = percent, height = 300 }) {
  const width = Math.max(host.clientWidth, 240);
  const left = yTicks.length ? 46 : 8, right = 14, top = 24, bottom = 44;
  const at = (u, v) => [
    left + ((u - x[0]) / (x[1] - x[0])) * (width - left - right),
    height - bottom - ((v - y[0]) / (y[1] - y[0])) * (height - top - bottom),
  ];
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": host.dataset.alt });
  const add = (name, attributes, text) => picture.appendChild(svg(name, attributes, text));
  for (const tick of yTicks) {
    const [, v] = at(x[0], tick);
    add("line", { class: "grid", x1: left, x2: width - right, y1: v, y2: v });
    add("text", { x: left - 8, y: v + 4, "text-anchor": "end" }, yText(tick, 0));
  }
  for (const tick of xTicks) {
    const [u, v] = at(tick, y[0]);
    add("line", { class: "axis", x1: u, x2: u, y1: v, y2: v + 4 });
    add("text", { x: u, y: v + 18, "text-anchor": "middle" }, xText(tick, 0));
  }
  const base = at(x[0], y[0])[1];
  add("line", { class: "axis", x1: left, x2: width - right, y1: base, y2: base });
  add("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, xName);
  add("text", { x: 0, y: 12 }, yName);
  host.replaceChildren(picture);
  return { add, at, picture, left, right: width - right, top, base, width };
}

/** A path through points of a chart, in its coordinates. */
const through = (chart, points) => "M" + points.map(([u, v]) => chart.at(u, v).map((z) => z.toFixed(1)).join(",")).join("L");

/** Round ticks that span low to high, and their ends; a single value gets room on the side where shares can be. */
function spread(low, high, most) {
  const room = high - low > 1e-6 ? 0 : 0.1;
  const ticks = rounds(low < room ? low : low - room, low < room ? high + room : high, most);
  return { ticks, ends: [ticks[0], ticks[ticks.length - 1]] };
}

/** Ticks for costs, from 0 to the largest: the backbone's 100 % with hardly anything beyond it. */
function costs(values, most) {
  const high = Math.max(1, ...values);
  return { ticks: rounds(0, high, most).filter((tick) => tick <= high), ends: [0, high] };
}

/** Histograms of confusion laid over each other, each group [tone, counts, mean] as shares of its own. */
function spreads(host, edges, groups, normalised) {
  const shares = groups.map(([, counts]) => {
    const total = counts.reduce((sum, count) => sum + count, 0);
    return counts.map((count) => (total ? count / total : 0));
  });
  const low = edges[0], high = edges[edges.length - 1];
  const across = rounds(low, high, host.clientWidth < 480 ? 5 : 9).filter((tick) => tick >= low && tick <= high);
  const up = spread(0, Math.max(...shares.flat(), 1e-6), 4);
  const chart = frame(host, {
    x: [low, high > low ? high : low + 1], y: up.ends, xTicks: across, yTicks: up.ticks, xName: normalised ? "confusion, in standard deviations" : "confusion", yName: "share per bin",
    xText: (tick) => minus(String(tick)), yText: (tick) => percent(tick, up.ticks[1] < 0.01 ? 1 : 0), height: 280,
  });
  const means = groups.map(([, , middle]) => middle);
  groups.forEach(([name, , middle], k) => {
    const steps = [[low, 0]];
    shares[k].forEach((share, bin) => steps.push([edges[bin], share], [edges[bin + 1], share]));
    steps.push([high, 0]);
    chart.add("path", { class: `area ${name}`, d: through(chart, steps) + "Z" });
    if (middle === null || middle < low || middle > high) return;
    const [u] = chart.at(middle, 0);
    chart.add("line", { class: `mean ${name}`, x1: u, x2: u, y1: chart.top - 6, y2: chart.base });
    const before = means.length > 1 && (k === 0) === (means[0] <= means[1]);
    chart.add("text", { class: "strong", x: u + (before ? -5 : 5), y: chart.top + 2, "text-anchor": before ? "end" : "start" }, minus(middle.toFixed(2)));
  });
}

/** Confusion of clean images and of others. */
function besideClean(host, { histogram, clean_mean: cleanMean, triggered_mean: otherMean, normalised }) {
  spreads(host, histogram.edges, [["right", histogram.clean, cleanMean], ["wrong", histogram.triggered, otherMean]], normalised);
}

const drawn = {
  exits(host) {
    const exits = data.exits.filter((exit) => exit.accuracy !== null);
    const lowest = Math.min(...exits.map((exit) => exit.accuracy));
    const highest = Math.max(...exits.map((exit) => Math.max(exit.accuracy, exit.correct_so_far ?? 0)));
    const across = costs(exits.map((exit) => exit.relative_cost), host.clientWidth < 480 ? 5 : 10);
    const up = spread(lowest, Math.min(highest, 1), 5);
    const chart = frame(host, { x: across.ends, y: up.ends, xTicks: across.ticks, yTicks: up.ticks, xName: "cost, of the backbone", yName: "share right" });
    const known = exits.filter((exit) => exit.correct_so_far !== null);
    chart.add("path", { class: "line dashed", d: through(chart, known.map((exit) => [exit.relative_cost, exit.correct_so_far])) });
    chart.add("path", { class: "line right", d: through(chart, exits.map((exit) => [exit.relative_cost, exit.accuracy])) });
    for (const exit of known) {
      const [u, v] = chart.at(exit.relative_cost, exit.correct_so_far);
      chart.add("circle", { class: "dot dashed", cx: u, cy: v, r: 3.5 }).append(svg("title", {}, `${exit.name}: ${percent(exit.correct_so_far)} right so far`));
    }
    let taken = -Infinity;
    exits.forEach((exit) => {
      const [u, v] = chart.at(exit.relative_cost, exit.accuracy);
      chart.add("circle", { class: "dot right", cx: u, cy: v, r: 5 }).append(svg("title", {}, `${exit.name}: ${percent(exit.accuracy)} at ${percent(exit.relative_cost)} of the cost`));
      if (u - taken < 14) return;
      taken = u;
      chart.add("text", { class: "strong", x: u, y: v + 24 > chart.base ? v - 10 : v + 20, "text-anchor": "middle" }, data.exits.indexOf(exit));
    });
  },

  confusion(host) {
    const { histogram, mean, right_mean: rightMean, wrong_mean: wrongMean, normalisation } = data.confusion;
    const apart = histogram.right !== null && histogram.wrong !== null;
    const groups = apart ? [["right", histogram.right, rightMean], ["wrong", histogram.wrong, wrongMean]] : [["all", histogram.all, mean]];
    spreads(host, histogram.edges, groups, normalisation !== null);
  },

  triggered: (host) => besideClean(host, data.triggered),

  suspected: (host) => besideClean(host, data.suspected),
};

/** Draws every chart at the width it has, and again whenever that changes. */
function drawAll() {
  const watch = new ResizeObserver((changes) => {
    for (const { target } of changes) {
      if (target.dataset.width === String(target.clientWidth)) continue;
      target.dataset.width = target.clientWidth;
      requestAnimationFrame(() => drawn[target.dataset.chart](target));
    }
  });
  for (const host of document.querySelectorAll("[data-chart]")) {
    host.dataset.width = host.clientWidth;
    drawn[host.dataset.chart](host);
    watch.observe(host);
  }
}
