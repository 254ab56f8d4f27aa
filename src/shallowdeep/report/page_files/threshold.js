const LEVELS = 256;
const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

/**
 * For every threshold k/255: accuracy, mean cost and the share that each exit answers.
 *
 * A sample leaves at exit e for the thresholds above all its earlier confidences and up to its confidence there, which is one
 * span of k; counting where spans begin and end does all 256 thresholds in one pass.
 */
function tradeoff({ exits, samples, confidence, right, costs }) {
  const sure = bytes(confidence), correct = right === null ? null : bytes(right);
  const leaving = Array.from({ length: exits }, () => new Float64Array(LEVELS + 1));
  const hits = new Float64Array(LEVELS + 1);
  for (let n = 0; n < samples; n += 1) {
    let from = 0;
    for (let e = 0; e < exits && from < LEVELS; e += 1) {
      const to = e === exits - 1 ? LEVELS : sure[e * samples + n] + 1;
      if (to <= from) continue;
      leaving[e][from] += 1;
      leaving[e][to] -= 1;
      if (correct !== null && correct[e * samples + n]) {
        hits[from] += 1;
        hits[to] -= 1;
      }
      from = to;
    }
  }
  const running = (steps) => {
    let sum = 0;
    return Array.from(steps.subarray(0, LEVELS), (step) => (sum += step) / samples);
  };
  const shares = leaving.map(running);
  const at = (k) => shares.map((share) => share[k]);
  return {
    shares: at,
    cost: Array.from({ length: LEVELS }, (_, k) => at(k).reduce((sum, share, e) => sum + share * costs[e], 0)),
    accuracy: correct === null ? null : running(hits),
    alone: correct === null ? null : costs.map((_, e) => {
      let count = 0;
      for (let n = 0; n < samples; n += 1) count += correct[e * samples + n];
      return count / samples;
    }),
  };
}

function startThreshold(series) {
  const curve = tradeoff(series);
  const slider = document.getElementById("slider"), output = document.getElementById("level"), spoken = document.getElementById("spoken");
  const rows = [...document.querySelectorAll("#shares tbody tr")];
  const buttons = [];
  let chart = null, pending = null;
  const level = () => Number(slider.value);
  const say = (name, text, value) => {
    const place = document.querySelector(`[data-live="${name}"]`);
    if (place === null) return;
    place.textContent = text;
    place.dataset.value = value;
  };

  const points = curve.accuracy === null
    ? curve.cost.map((cost, k) => [k / 255, cost])
    : curve.cost.map((cost, k) => [cost, curve.accuracy[k]]);

  drawn.curve = (host) => {
    const narrow = host.clientWidth < 480;
    if (curve.accuracy === null) {
      const up = costs(series.costs, 5), across = spread(0, 1, 5);
      chart = frame(host, { x: [0, 1], y: up.ends, xTicks: across.ticks, yTicks: up.ticks, xName: "threshold", yName: "mean cost", xText: (tick) => String(tick) });
    } else {
      const heights = [...curve.accuracy, ...curve.alone];
      const up = spread(Math.min(...heights), Math.max(...heights), 5), across = costs(series.costs, narrow ? 4 : 5);
      chart = frame(host, { x: across.ends, y: up.ends, xTicks: across.ticks, yTicks: up.ticks, xName: "mean cost, of the backbone", yName: "accuracy" });
      curve.alone.forEach((accuracy, e) => {
        const [u, v] = chart.at(series.costs[e], accuracy);
        chart.add("circle", { class: "ring", cx: u, cy: v, r: 4 }).append(svg("title", {}, `${data.exits[e].name} for all: ${percent(accuracy)} at ${percent(series.costs[e])}`));
      });
    }
    chart.add("path", { class: "line right", d: through(chart, points) });
    for (const mark of series.marks) {
      const [u, v] = chart.at(...points[mark.level]);
      chart.add("path", { class: "diamond", d: `M${u},${v - 6}l6,6l-6,6l-6,-6Z` }).append(svg("title", {}, `${mark.name}: ${mark.value.toFixed(3)}`));
    }
    chart.across = chart.add("line", { class: "cross", x1: chart.left });
    chart.down = chart.add("line", { class: "cross", y2: chart.base });
    chart.now = chart.add("circle", { class: "now", r: 7 });
    const plane = chart.add("rect", { "data-press": "", x: chart.left, y: chart.top, width: chart.right - chart.left, height: chart.base - chart.top, fill: "transparent" });
    const choose = (event) => {
      const box = chart.picture.getBoundingClientRect(), scale = chart.width / box.width;
      const u = (event.clientX - box.left) * scale, v = (event.clientY - box.top) * scale;
      let best = 0, least = Infinity;
      points.forEach((point, k) => {
        const [a, b] = chart.at(...point), far = (a - u) ** 2 + (b - v) ** 2;
        if (far < least) [best, least] = [k, far];
      });
      move(best);
    };
    plane.addEventListener("pointerdown", choose);
    plane.addEventListener("pointermove", (event) => event.buttons && choose(event));
    place();
  };

  function place() {
    if (chart === null) return;
    const [u, v] = chart.at(...points[level()]);
    for (const [element, values] of [[chart.now, { cx: u, cy: v }], [chart.across, { x2: u, y1: v, y2: v }], [chart.down, { x1: u, x2: u, y1: v }]]) {
      for (const [key, value] of Object.entries(values)) element.setAttribute(key, value);
    }
  }

  function show() {
    const k = level(), shares = curve.shares(k), value = (k / 255).toFixed(3);
    output.textContent = value;
    slider.setAttribute("aria-valuetext", value);
    say("cost", percent(curve.cost[k]), curve.cost[k]);
    say("early", percent(1 - shares[shares.length - 1]), 1 - shares[shares.length - 1]);
    if (curve.accuracy !== null) {
      const gain = curve.accuracy[k] - curve.alone[curve.alone.length - 1];
      say("accuracy", percent(curve.accuracy[k], 2), curve.accuracy[k]);
      say("difference", (gain > 0 ? "+" : "") + minus((100 * gain).toFixed(2)), gain);
    }
    rows.forEach((row, e) => {
      row.querySelector(".bar").style.setProperty("--share", shares[e]);
      row.lastElementChild.textContent = percent(shares[e]);
      row.lastElementChild.dataset.value = shares[e];
    });
    for (const [button, mark] of buttons) button.setAttribute("aria-pressed", String(mark === k));
    place();
    clearTimeout(pending); // a slider on the move would talk without end
    pending = setTimeout(() => {
      const accuracy = curve.accuracy === null ? "" : `accuracy ${percent(curve.accuracy[k], 2)}, `;
      spoken.textContent = `Threshold ${value}: ${accuracy}mean cost ${percent(curve.cost[k])} of the backbone.`;
    }, 400);
  }

  function move(k) {
    slider.value = k;
    show();
  }

  const group = document.querySelector(".marks"), ticks = document.querySelector(".ticks");
  for (const mark of series.marks) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `${mark.name} ${mark.value.toFixed(3)}`;
    button.addEventListener("click", () => move(mark.level));
    buttons.push([button, mark.level]);
    group.append(button);
    const tick = document.createElement("span");
    tick.style.left = `${(100 * mark.level) / 255}%`;
    tick.title = button.textContent;
    tick.addEventListener("click", () => move(mark.level));
    ticks.append(tick);
  }
  group.hidden = series.marks.length === 0;
  slider.addEventListener("input", show);
  move(series.marks.length ? series.marks[0].level : 230);
}
