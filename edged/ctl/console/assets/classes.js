// How a new model fares label by label: what is taken for what, and what more photos would bring.

import { h } from "./dom.js";
import { count, percent, UNKNOWN } from "./format.js";

const MOST_IN_PAIRS = 12; // of a matrix made of the most confused pairs: more would mostly be empty
const MOST_ROWS = 60;
const ACROSS = 6; // so many headings of columns stand upright

/** A matrix of all pairs of labels. An older device, or one with very many labels, names the most confused ones alone. */
export function matrix({ classes = {}, confused = [], confusion }) {
  const { labels, rows } = confusion ? whole(confusion) : ofPairs(classes, confused);
  if (!labels.length) return null;
  const rest = rows.some((row) => row.rest > 0);
  const right = rows.map((row, at) => row.cells[at]);
  const cell = (value, images, same) => {
    const element = h("td", { class: value ? (same ? "hit" : "miss") : "none" }, value ? count(value) : "·");
    element.style.setProperty("--share", String(images ? value / images : 0));
    return element;
  };
  const heading = (text) => h("th", { scope: "col" }, h("bdi", {}, text));
  const line = (row, at) => h(
    "tr",
    {},
    h("th", { scope: "row" }, h("bdi", {}, row.label)),
    row.cells.map((value, other) => cell(value, row.images, other === at)),
    rest ? cell(row.rest, row.images, false) : null,
    h("td", { class: "note" }, row.images ? percent(right[at] / row.images) : UNKNOWN),
  );
  return h(
    "section",
    { class: labels.length > MOST_IN_PAIRS ? "card part wide" : "card part" },
    h("h2", {}, "Confusion matrix"),
    h("p", { class: "note" }, "Photos that were kept apart: a row is a label, a column what the model said."),
    h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Confusion matrix" },
      h("table", { class: labels.length > ACROSS ? "matrix upright" : "matrix" },
        h("caption", { class: "unseen" }, "How many photos of each label (rows) the model took for each label (columns)"),
        h("thead", {}, h("tr", {}, h("td", {}), labels.map(heading), rest ? heading("others") : null, heading("recall"))),
        h("tbody", {}, rows.map(line)))),
  );
}

function whole({ labels, counts }) {
  const rows = labels.map((label, at) => ({ label, cells: counts[at], images: counts[at].reduce((sum, one) => sum + one, 0), rest: 0 }));
  return { labels, rows };
}

// What a label lost beside the pairs that are named stands in a column of its own.
function ofPairs(classes, confused) {
  const labels = Object.keys(classes).slice(0, MOST_IN_PAIRS);
  const pairs = new Map(confused.map((pair) => [`${pair.label}\n${pair.predicted}`, pair.count]));
  const rows = labels.map((label) => {
    const { images = 0, recall } = classes[label];
    const right = Math.round(images * (recall ?? 0));
    const cells = labels.map((other) => (other === label ? right : (pairs.get(`${label}\n${other}`) ?? 0)));
    return { label, images, cells, rest: images - cells.reduce((sum, one) => sum + one, 0) };
  });
  return { labels, rows };
}

/** Each label's photos and recall and, where enough of its photos were kept apart, what the learning curve promises. */
export function labels({ counts = {}, classes = {}, learning_curve: curve = {}, taken_over: taken }) {
  const names = Object.keys(classes).sort((a, b) => (classes[a].recall ?? 2) - (classes[b].recall ?? 2) || a.localeCompare(b));
  if (!names.length) return null;
  const curves = curve.classes ?? {};
  const points = Object.keys(curves).length ? (curve.points ?? []) : [];
  const number = (text) => h("td", { class: "number" }, text);
  const heading = (text, more = {}) => h("th", { scope: "col", class: "number", ...more }, text);
  const line = (label) => {
    const { images, precision, recall } = classes[label];
    const own = curves[label];
    const gain = own?.gain_per_100;
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, h("bdi", {}, label)),
      number(count(counts[label])),
      number(count(images)),
      number(percent(precision)),
      number(percent(recall)),
      points.map((_, at) => number(percent(own?.recall[at]))),
      points.length ? number(typeof gain === "number" ? `+${(100 * gain).toFixed(1)} points` : UNKNOWN) : null,
    );
  };
  const about = "Recall: of a label's photos that were kept apart, the share that the model names. ";
  const outlook = points.length
    ? `Beside it, that of models which learned from fewer photos${taken?.parts?.includes("learning curve") ? `, as version ${taken.version} knew it` : ""}, before they were `
      + "rounded to bytes. 100 more: what as many more photos to learn from, shared out among the labels as now, would likely add; unknown (–) where fewer than 30 photos of the label were kept apart."
    : "Fewer than 30 photos of each label were kept apart: too few to tell what more photos of one label would bring.";
  return h(
    "section",
    { class: "card part wide" },
    h("h2", {}, "Labels"),
    h("p", { class: "note" }, about, outlook),
    h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Labels" },
      h("table", { class: "by-label" },
        h("caption", { class: "unseen" }, "Photos, precision and recall of each label, the lowest recall first"),
        h("thead", {},
          h("tr", {},
            h("th", { scope: "col" }, "Label"),
            heading("Photos"),
            heading("Kept apart"),
            heading("Precision"),
            heading("Recall"),
            points.map((point) => heading(`of ${count(point.images)} photos`)),
            points.length ? heading("100 more") : null)),
        h("tbody", {}, names.slice(0, MOST_ROWS).map(line)))),
    names.length > MOST_ROWS ? h("p", { class: "note" }, `And ${count(names.length - MOST_ROWS)} with a better recall.`) : null,
  );
}
