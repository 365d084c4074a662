// Charts over the last hour: uPlot, with the page's colours and legends that can be read without a mouse.

import { h, setAttribute, setText } from "./dom.js";
import { timeOfDay, UNKNOWN } from "./format.js";

const COLOURS = 8;
const HOUR_S = 3600;
const group = "hour"; // the cursors of all charts stand at the same moment

/** The value of a custom property, as it is in this scheme of colours. */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const series = (at) => colour(`--c${(at % COLOURS) + 1}`);

/** Call `redraw` when the scheme of colours changes; returns what ends it. */
function onScheme(redraw) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", redraw);
  return () => dark.removeEventListener("change", redraw);
}

function axes(tick) {
  const ink = { stroke: () => colour("--soft"), font: "11px system-ui, sans-serif" };
  const grid = { stroke: () => colour("--line"), width: 1 };
  return [
    { ...ink, grid: { show: false }, ticks: { show: false }, space: 56, size: 26, values: (_, moments) => moments.map((one) => timeOfDay(one).slice(0, 5)) },
    { ...ink, grid, ticks: { show: false }, size: 46, space: 34, values: (_, values) => values.map((one) => tick(one)) },
  ];
}

/**
 * A chart in a card. `title`, `unit`; `format(value)`; `stacked`: values lie on each other, as bars; `min`: the least top of
 * the scale; `tick(value)`: text beside the axis; `shade`: draw where `marks` are set. Returns {element, draw(times, lines, marks), tell(unit), end()}, where
 * `lines` are [{name, values}].
 */
export function chart({ title, unit = "", format, stacked = false, top = null, xs = null, tick = (value) => String(Number(value.toFixed(2))), shade = "--bad-soft" }) {
  const plot = h("div", { class: "plot", role: "img" });
  const legend = h("ul", { class: "legend" });
  const about = h("bdi", { class: "unit" }, unit);
  const element = h(
    "figure",
    { class: "chart card" },
    h("figcaption", {}, h("h2", {}, title), about),
    plot,
    legend,
  );
  let drawn = null;
  let shown = { names: "", lines: [], times: [], marks: null };

  function options(names) {
    const bars = window.uPlot.paths.bars({ size: [1, 60], align: 0 });
    return {
      width: Math.max(plot.clientWidth, 120),
      height: plot.clientHeight || 170,
      padding: [8, 16, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: group }, points: { size: 6 }, drag: { x: false, y: false }, y: false },
      scales: {
        x: xs ? { time: false } : { range: (_, min, max) => [Math.min(min, max - 300), max] },
        y: { range: (_, min, max) => (top !== null ? [0, top] : [Math.min(0, min), max > 0 ? max * 1.08 : 1]) },
      },
      axes: xs ? [{ ...axes(tick)[0], values: (_, values) => values.map((one) => (Number.isInteger(one) ? String(one) : "")) }, axes(tick)[1]] : axes(tick),
      series: [
        {},
        ...names.map((name, at) => ({
          label: name,
          stroke: () => series(stacked ? names.length - 1 - at : at),
          fill: stacked ? () => series(names.length - 1 - at) : undefined,
          width: stacked ? 0 : 1.6,
          paths: stacked ? bars : undefined,
          points: { show: (self) => xs && self.data[0].length < 30, size: 5, fill: () => series(at) },
          spanGaps: false,
        })),
      ],
      hooks: {
        drawClear: [(self) => shadeMarks(self)],
        setCursor: [(self) => readout(self.cursor.idx)],
      },
    };
  }

  function shadeMarks(self) {
    if (!shown.marks) return;
    const { ctx, bbox } = self;
    ctx.save();
    ctx.fillStyle = colour(shade);
    const [times] = self.data;
    shown.marks.forEach((mark, at) => {
      if (!mark) return;
      const left = self.valToPos(times[at], "x", true);
      const right = at + 1 < times.length ? self.valToPos(times[at + 1], "x", true) : left + 4;
      ctx.fillRect(Math.max(left, bbox.left), bbox.top, Math.max(right - left, 2), bbox.height);
    });
    ctx.restore();
  }

  // The legend tells the values under the cursor, else the newest.
  function readout(index) {
    const at = index ?? shown.times.length - 1;
    [...legend.children].forEach((line, number) => {
      const value = shown.lines[number]?.values[at];
      setText(line.querySelector("b"), value === null || value === undefined ? UNKNOWN : format(value));
    });
  }

  function draw(times, lines, marks = null) {
    shown = { names: lines.map(({ name }) => name).join("\n"), lines, times, marks };
    const ordered = stacked ? pile(lines) : lines.map(({ values }) => values);
    if (legend.dataset.names !== shown.names || !legend.childElementCount) {
      legend.dataset.names = shown.names;
      legend.replaceChildren(
        ...lines.map(({ name }, at) => {
          const swatch = h("i", {});
          swatch.style.background = `var(--c${(at % COLOURS) + 1})`;
          return h("li", {}, swatch, h("bdi", {}, name), " ", h("b", {}));
        }),
      );
      drawn?.destroy();
      drawn = null;
    }
    if (drawn === null && element.isConnected && times.length) {
      const names = lines.map(({ name }) => name);
      drawn = new window.uPlot(options(stacked ? names.reverse() : names), [times, ...ordered], plot);
    } else drawn?.setData([times, ...ordered]);
    readout(drawn?.cursor.idx);
    const newest = lines.map(({ name, values }) => `${name} ${values.at(-1) === null || values.at(-1) === undefined ? UNKNOWN : format(values.at(-1))}`);
    setAttribute(plot, "aria-label", `${title}${unit ? `, ${unit}` : ""}: ${newest.join(", ") || "nothing yet"}`);
  }

  /** Say something else beside the title. */
  function tell(text) {
    unit = text;
    setText(about, text);
  }

  const sized = new ResizeObserver(() => drawn?.setSize({ width: Math.max(plot.clientWidth, 120), height: plot.clientHeight }));
  sized.observe(plot);
  const forget = onScheme(() => drawn?.redraw(false));
  return {
    element,
    draw,
    tell,
    end: () => {
      forget();
      sized.disconnect();
      drawn?.destroy();
    },
  };
}

/** Lay values on each other; the highest is drawn first, the others before it. */
function pile(lines) {
  const sums = [];
  let below = [];
  for (const { values } of lines) {
    below = values.map((value, at) => (value ?? 0) + (below[at] ?? 0));
    sums.unshift(below);
  }
  return sums;
}

/** The last hour of one device: points are added as they come. */
export class Hour {
  times = [];
  labels = {}; // of each camera
  series = {};

  /** Take what the server told: everything, or what has changed from some moment on. */
  take(told) {
    if (told.all) {
      this.times = [];
      this.labels = {};
      this.series = {};
    }
    const all = () => [...Object.values(this.series), ...Object.values(this.labels)];
    while (this.times.length && this.times.at(-1) >= told.t[0]) {
      this.times.pop();
      for (const values of all()) values.pop();
    }
    const before = this.times.length;
    this.times.push(...told.t);
    for (const [kept, fresh] of [[this.series, told.series], [this.labels, told.labels]]) {
      for (const name of Object.keys(fresh)) kept[name] ??= new Array(before).fill(null);
      for (const [name, values] of Object.entries(kept)) {
        values.push(...(fresh[name] ?? new Array(told.t.length).fill(null)));
      }
    }
    while (this.times.length && this.times[0] < this.times.at(-1) - HOUR_S) {
      this.times.shift();
      for (const values of all()) values.shift();
    }
  }

  /** Series of a kind: those whose names begin with "kind.", by their names without it. */
  kind(prefix) {
    return Object.keys(this.series)
      .filter((name) => name.startsWith(`${prefix}.`))
      .sort()
      .map((name) => ({ name: name.slice(prefix.length + 1), values: this.series[name] }));
  }

  /** What a camera showed: shares of labels in each of many spans. */
  mix(camera, most = 6) {
    const labels = this.labels[camera] ?? [];
    if (!this.times.length) return { times: [], lines: [] };
    const totals = new Map();
    for (const label of labels) if (label) totals.set(label, (totals.get(label) ?? 0) + 1);
    const names = [...totals].sort((a, b) => b[1] - a[1]).map(([label]) => label);
    const shown = names.slice(0, names.length > most ? most - 1 : most);
    const others = names.length > shown.length;
    const span = Math.max(this.times.at(-1) - this.times[0], 60);
    const width = Math.max(10, Math.ceil(span / 40 / 5) * 5);
    const columns = new Map();
    this.times.forEach((time, at) => {
      if (!labels[at]) return;
      const begin = Math.floor(time / width) * width;
      if (!columns.has(begin)) columns.set(begin, new Map());
      const column = columns.get(begin);
      const name = shown.includes(labels[at]) ? labels[at] : "others";
      column.set(name, (column.get(name) ?? 0) + 1);
    });
    const times = [...columns.keys()];
    const lines = [...shown, ...(others ? ["others"] : [])].map((name) => ({
      name,
      values: times.map((time) => {
        const column = columns.get(time);
        const all = [...column.values()].reduce((sum, one) => sum + one, 0);
        return (column.get(name) ?? 0) / all;
      }),
    }));
    return { times, lines };
  }
}
