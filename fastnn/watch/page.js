// Asks the server for the lines of the log that are new, and draws them.
// Names come from the user's model: they only ever become text nodes, never HTML.
"use strict";

const PERIOD = 1000; // ms between questions
const POINTS = 400; // of a line; columns of a histogram
const PALETTE = 6;
const DASHES = ["", "6 3", "2 3", "8 3 2 3", "10 4", "4 2"];
const SVG = "http://www.w3.org/2000/svg";

const $ = (id) => document.getElementById(id);
let run = 0, header = null, records = [], epochs = [], seen = 0, skipped = 0;
let extra = null; // the newest record, while it is not among those that stay

// --- elements ---------------------------------------------------------------------------------

function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function drawn(name, attributes, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

function short(value) {
  if (!isNumber(value)) return "–";
  const size = Math.abs(value);
  const small = size && (size < 1e-3 || size >= 1e5);
  const text = small ? value.toExponential(1).replace(/\.0e/, "e") : String(Number(value.toPrecision(3)));
  return text.replace("e+", "e").replaceAll("-", "−");
}

const percent = (value) => (isNumber(value) ? `${Number((100 * value).toPrecision(3))}%` : "–");

function duration(seconds) {
  const s = Math.round(seconds), pad = (n) => String(n).padStart(2, "0");
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)}:${pad(s % 60)} min`;
  return `${Math.floor(s / 3600)}:${pad(Math.floor(s / 60) % 60)} h`;
}

// --- charts -----------------------------------------------------------------------------------

function ticks(low, high, log) {
  if (log) {
    let first = Math.floor(Math.log10(low) + 1e-9), last = Math.ceil(Math.log10(high) - 1e-9);
    last = Math.max(last, first + 1);
    const every = Math.ceil((last - first) / 6), found = [];
    for (let e = first; e < last + every; e += every) found.push(10 ** e);
    return found;
  }
  if (high <= low) [low, high] = low ? [low - Math.abs(low) / 2, low + Math.abs(low) / 2] : [0, 1];
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough * (1 - 1e-9));
  const found = [];
  for (let i = Math.floor(low / step + 1e-9); i <= Math.ceil(high / step - 1e-9); i++) found.push(i * step);
  return found;
}

// At most POINTS of an array, the last one among them.
function thin(array) {
  const every = Math.ceil(array.length / POINTS);
  return every < 2 ? array : array.filter((_, i) => (array.length - 1 - i) % every === 0);
}

function stroke(i, n) {
  const dash = DASHES[i % DASHES.length];
  // A few lines have colours that all eyes tell apart, many go from blue to orange with depth.
  const colour = n <= PALETTE ? `var(--s${i})` : `hsl(${220 + (170 * i) / (n - 1)} 65% var(--light))`;
  return `stroke:${colour}` + (dash ? `;stroke-dasharray:${dash}` : "");
}

function styled(node, style) {
  for (const part of style.split(";")) {
    const [key, value] = part.split(":");
    node.style.setProperty(key, value); // allowed by the policy, an attribute style is not
  }
  return node;
}

// series: [{name, points: [[x, y], ...]}], where y may be null; options: log, format, guide, from0
function chart(title, series, options = {}) {
  const good = (y) => isNumber(y) && (!options.log || y > 0);
  series = series.filter((s) => s.points.some(([, y]) => good(y)));
  if (!series.length) return null;
  const all = series.flatMap((s) => s.points.filter(([, y]) => good(y)));
  const xs = all.map((p) => p[0]), ys = all.map((p) => p[1]);
  if (options.guide) ys.push(options.guide);
  if (options.from0) ys.push(0);
  const least = (a) => a.reduce((m, v) => Math.min(m, v), Infinity);
  const most = (a) => a.reduce((m, v) => Math.max(m, v), -Infinity);
  const x0 = least(xs), x1 = Math.max(most(xs), x0 + 1);
  const yTicks = ticks(least(ys), most(ys), options.log);
  const [y0, y1] = [yTicks[0], yTicks[yTicks.length - 1]];
  const width = 360, height = 200, format = options.format || short;
  const left = 12 + 6.2 * Math.max(...yTicks.map((t) => format(t).length)), right = width - 12;
  const top = 10, bottom = height - 34;
  const sx = (x) => left + ((right - left) * (x - x0)) / (x1 - x0);
  const part = options.log ? (y) => Math.log(y / y0) / Math.log(y1 / y0) : (y) => (y - y0) / (y1 - y0);
  const sy = (y) => bottom - (bottom - top) * part(y);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
  const line = (a, b, c, d, cls) => svg.append(drawn("line", { x1: a, y1: b, x2: c, y2: d, class: cls }));
  const text = (x, y, anchor, string) => svg.append(drawn("text", { x, y, "text-anchor": anchor }, string));
  for (const t of yTicks) {
    line(left, sy(t), right, sy(t), "grid");
    text(left - 6, sy(t) + 4, "end", format(t));
  }
  for (const t of ticks(x0, x1).filter((t) => t >= x0 && t <= x1 && Number.isInteger(t))) {
    line(sx(t), bottom, sx(t), bottom + 4, "axis");
    text(sx(t), bottom + 16, "middle", short(t));
  }
  text((left + right) / 2, height - 3, "middle", "step");
  line(left, bottom, right, bottom, "axis");
  if (options.guide) line(left, sy(options.guide), right, sy(options.guide), "guide");
  series.forEach((s, i) => {
    const style = stroke(i, series.length), name = () => drawn("title", {}, s.name);
    let piece = [];
    const flush = () => {
      if (piece.length === 1) {
        const [cx, cy] = piece[0].split(",");
        const dot = drawn("circle", { cx, cy, r: 2.5 }, name());
        svg.append(styled(dot, `fill:${style.split(";")[0].slice(7)}`));
      } else if (piece.length) {
        svg.append(styled(drawn("polyline", { points: piece.join(" ") }, name()), style));
      }
      piece = [];
    };
    for (const [x, y] of thin(s.points)) {
      if (good(y)) piece.push(`${sx(x).toFixed(1)},${sy(y).toFixed(1)}`);
      else flush();
    }
    flush();
  });
  return element("figure", {}, element("figcaption", {}, title), legend(series), svg);
}

function legend(series) {
  const box = element("div", { class: "legend" }), n = series.length;
  if (n < 2) return box;
  series.forEach((s, i) => {
    if (n > 12 && i > 3 && i < n - 4) { // the colours in between follow from the depth
      if (i === 4) box.append(element("span", { class: "dim" }, `… ${n - 8} more …`));
      return;
    }
    const mark = drawn("line", { x1: 0, y1: 4, x2: 18, y2: 4, "stroke-width": 2 });
    const swatch = drawn("svg", { viewBox: "0 0 18 8" }, styled(mark, stroke(i, n)));
    box.append(element("span", {}, swatch, s.name));
  });
  return box;
}

// --- the parts of the page --------------------------------------------------------------------

const label = (name) => {
  const found = (header.layers || []).find((l) => l.name === name);
  return String((found && found.label) || name || "model");
};

// The step of the first of the records, up to the newest, that all say this.
function since(item) {
  const same = (other) => other.rule === item.rule && other.layer === item.layer;
  let i = records.length - 1;
  while (i > 0 && (records[i - 1].advice || []).some(same)) i--;
  return records[i].step;
}

// Names in the order in which layers run; an object would have "10" before "2.a".
function order(layers) {
  const known = (header.layers || []).map((layer) => layer.name);
  return [...new Set([...known, ...Object.keys(layers)])].filter((name) => Object.hasOwn(layers, name));
}

function drawAdvice() {
  const last = records[records.length - 1], list = $("advice");
  list.replaceChildren();
  for (const item of last.advice || []) {
    const first = since(item), when = first < last.step ? ` since step ${first}` : "";
    list.append(element("li", {}, String(item.text), element("span", { class: "dim" }, when)));
  }
  if (!list.children.length) list.append(element("li", { class: "good" }, "No problems found."));
}

function layerSeries(names, value) {
  return names.map((name) => ({
    name: label(name),
    points: records.map((r) => [r.step, value(r.layers[name] || {}) ?? null]),
  }));
}

function drawCurves(names) {
  const of = (key) => records.map((r) => [r.step, r[key] ?? null]);
  const ends = (key) => epochs.map((e) => [e.step, e[key] ?? null]);
  const activation = (key) => (l) => (l.activation || {})[key];
  const any = (value) => names.filter((name) => records.some((r) => isNumber(value(r.layers[name] || {}))));
  const perLayer = (title, value, options) => chart(title, layerSeries(any(value), value), options);
  const share = { format: percent, from0: true };
  $("curves").replaceChildren(...[
    chart("Loss", [
      { name: "training", points: of("mean_loss") },
      { name: "validation", points: ends("validation_loss") },
    ], { log: $("log-loss").checked }),
    chart("Accuracy", [
      { name: "batch", points: of("accuracy") },
      { name: "training, by epoch", points: ends("accuracy") },
      { name: "validation", points: ends("validation_accuracy") },
    ], { format: percent }),
    perLayer("Update : weight (dotted: 1e-3, a good size)", (l) => l.update_ratio, { log: true, guide: 1e-3 }),
    perLayer("Dead units", activation("dead"), share),
    perLayer("Saturated outputs", activation("saturated"), share),
    perLayer("Deviation of gradients", (l) => (l.gradient || {}).std, { log: true }),
    chart("Learning rate", [{ name: "learning rate", points: of("lr") }], { from0: true }),
  ].filter(Boolean));
}

const COLUMNS = [
  ["mean", (l) => short((l.activation || {}).mean)],
  ["deviation", (l) => short((l.activation || {}).std)],
  ["positive", (l) => percent((l.activation || {}).positive)],
  ["dead", (l) => percent((l.activation || {}).dead)],
  ["saturated", (l) => percent((l.activation || {}).saturated)],
  ["gradient", (l) => short((l.gradient || {}).std)],
  ["update : weight", (l) => short(l.update_ratio)],
];

function drawTable(names, last) {
  $("head").replaceChildren(element("th", {}, "layer"), ...COLUMNS.map(([name]) => element("th", {}, name)));
  const warned = new Set((last.advice || []).map((item) => item.layer));
  $("layers").replaceChildren(...names.map((name) => {
    const first = element("td", warned.has(name) ? { class: "warn" } : {}, label(name));
    first.title = label(name);
    const cells = COLUMNS.map(([, value]) => element("td", {}, value(last.layers[name] || {})));
    return element("tr", {}, first, ...cells);
  }));
}

const visible = new Set();
const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) { visible.add(target); drawHistogram(target); } else visible.delete(target);
  }
}, { rootMargin: "100%" });

function makeHistograms(names) {
  const wanted = JSON.stringify(names), box = $("histograms");
  if (box.dataset.names === wanted) return;
  box.dataset.names = wanted;
  observer.disconnect();
  visible.clear();
  box.replaceChildren(...names.map((name) => {
    const figure = element("figure", {}, element("figcaption", {}, label(name)));
    for (const what of ["activation", "gradient"]) {
      const canvas = element("canvas", { role: "img", "aria-label": `${what} of ${label(name)}` });
      canvas.layer = name;
      canvas.what = what;
      canvas.note = element("span");
      figure.append(element("div", { class: "ends" }, element("span", {}, what), canvas.note), canvas);
      observer.observe(canvas);
    }
    return figure;
  }));
}

function drawHistogram(canvas) {
  const columns = thin(records.map((r) => (r.layers[canvas.layer] || {})[canvas.what])
    .filter((f) => f && f.hist && Array.isArray(f.hist.counts) && f.hist.to > f.hist.from));
  const scale = window.devicePixelRatio || 1;
  const width = (canvas.width = Math.round(canvas.clientWidth * scale));
  const height = (canvas.height = Math.round(canvas.clientHeight * scale));
  const g = canvas.getContext("2d");
  if (!columns.length || !width) return;
  // All of them, unless a few reach very much farther than the last one that is not all the same.
  const varied = columns.filter((f) => f.max > f.min), ranges = (varied.length ? varied : columns).map((f) => f.hist);
  const last = ranges[ranges.length - 1], most = 4 * Math.max(last.to, -last.from);
  const high = Math.min(Math.max(...ranges.map((h) => h.to)), most);
  const low = Math.max(Math.min(...ranges.map((h) => h.from)), -most);
  const sy = (v) => (height * (high - v)) / (high - low);
  const style = getComputedStyle(canvas);
  g.fillStyle = style.color;
  columns.forEach(({ min, max, hist: { from, to, counts } }, i) => {
    const x = Math.floor((width * i) / columns.length), end = Math.floor((width * (i + 1)) / columns.length);
    if (max === min) { // it has no width, nor a bin of its own
      g.globalAlpha = 1;
      g.fillRect(x, Math.min(Math.floor(sy(min)), height - 1), Math.max(1, end - x), 1);
      return;
    }
    const total = counts.reduce((a, b) => a + b, 0) || 1, size = (to - from) / counts.length;
    counts.forEach((count, bin) => {
      if (!count) return;
      // Area is number, so that columns with other bins compare; the root shows what is rare.
      g.globalAlpha = Math.min(1, Math.sqrt(((count / total) * (high - low)) / size / 24));
      const y = Math.floor(sy(from + size * (bin + 1)));
      g.fillRect(x, y, Math.max(1, end - x), Math.max(1, Math.floor(sy(from + size * bin)) - y));
    });
  });
  if (low < 0 && high > 0) {
    g.globalAlpha = 0.8;
    g.strokeStyle = getComputedStyle(document.body).color;
    g.setLineDash([2 * scale, 4 * scale]);
    g.beginPath();
    g.moveTo(0, sy(0));
    g.lineTo(width, sy(0));
    g.stroke();
  }
  canvas.note.textContent = `${short(low)} … ${short(high)}`;
}

function draw() {
  const waiting = !header || !records.length;
  $("main").hidden = waiting;
  if (waiting) return;
  const watched = records.filter((r) => Object.keys(r.layers).length);
  const last = watched[watched.length - 1] || records[records.length - 1];
  const names = order(last.layers);
  $("title").textContent = String(header.model);
  document.title = `${header.model} – fastnn watch`;
  $("about").textContent = [
    `${Number(header.parameters).toLocaleString("en")} parameters`,
    header.optimizer, `observed every ${header.every} steps`,
  ].filter(Boolean).join(", ");
  drawAdvice();
  drawCurves(names);
  drawTable(names, last);
  makeHistograms(names);
  visible.forEach(drawHistogram);
}

function drawState(state, age) {
  const last = records[records.length - 1], bar = $("progress");
  const broken = skipped ? [`${skipped} broken line${skipped > 1 ? "s" : ""} skipped`] : [];
  $("state").className = state === "lost" ? "warn" : "";
  if (!last) {
    const waiting = {
      lost: "The server does not answer.",
      ended: "The training has ended without an observation.",
      live: header ? "Waiting for the first observation …" : "Waiting for the training to begin …",
    };
    $("state").textContent = [waiting[state], ...broken].join(" · ");
    bar.hidden = true;
    return;
  }
  const done = last.progress;
  const parts = [`step ${last.step}`, `epoch ${last.epoch + 1}`, duration(last.seconds || 0)];
  if (isNumber(last.mean_loss)) parts.push(`loss ${short(last.mean_loss)}`);
  if (isNumber(last.accuracy)) parts.push(`accuracy ${percent(last.accuracy)}`);
  if (state === "ended") parts.push("the training has ended");
  else if (state === "lost") parts.push("the server does not answer: this is what there was");
  else if (age > 10) parts.push(`last line written ${duration(age)} ago`);
  else if (isNumber(done) && done > 0.02) parts.push(`${duration((last.seconds * (1 - done)) / done)} left`);
  $("state").textContent = [...parts, ...broken].join(" · ");
  bar.hidden = !isNumber(done);
  if (isNumber(done)) bar.value = state === "ended" ? 1 : done;
}

// --- following --------------------------------------------------------------------------------

function take(answer) {
  if (extra) records.pop();
  extra = null;
  if (answer.run !== run) {
    run = answer.run;
    header = null;
    records = [];
    epochs = [];
  }
  for (const entry of answer.lines) {
    if ("fastnn_monitor" in entry) header = entry;
    else if ("epoch_end" in entry) epochs.push(entry);
    else records.push(entry);
  }
  if (answer.last && !answer.more) records.push((extra = answer.last));
  seen = answer.next;
  skipped = answer.skipped;
}

async function follow() {
  let answer;
  try {
    const response = await fetch(`log?run=${run}&after=${seen}`);
    if (!response.ok) throw new Error(response.statusText);
    answer = await response.json();
  } catch {
    drawState("lost", 0);
    setTimeout(follow, PERIOD);
    return;
  }
  if (!answer.ended) setTimeout(follow, answer.more ? 0 : PERIOD);
  const newest = extra && extra.step;
  const news = answer.lines.length || answer.run !== run || (answer.last || {}).step !== newest;
  take(answer);
  if (answer.more) return;
  if (news) draw();
  drawState(answer.ended ? "ended" : "live", answer.age);
}

$("log-loss").addEventListener("change", draw);
window.addEventListener("beforeprint", () => document.querySelectorAll("canvas").forEach(drawHistogram));
window.addEventListener("resize", () => visible.forEach(drawHistogram));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => visible.forEach(drawHistogram));
follow();
