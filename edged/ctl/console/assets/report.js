// What came of a training: the verdict, old against new, where it errs, what its scores are worth.

import { labels, matrix } from "./classes.js";
import { h, svg, toast } from "./dom.js";
import { count, counted, percent, UNKNOWN } from "./format.js";
import { Photos } from "./photos.js";
import { command } from "./talk.js";

const VERDICTS = {
  promoted: ["good", "Promoted: the new model answers"],
  refused: ["bad", "Refused: the model before goes on answering"],
  undecided: ["warn", "Undecided: too few photos tell"],
};

/** Draw the report of a job. `actions`: what accept and roll back do. */
export function report(device, job, actions) {
  const told = job.report;
  const confusions = matrix(told);
  const scores = reliability(told);
  const middle = confusions?.classList.contains("wide") ? [scores, confusions] : [confusions, scores]; // no gap beside a wide one
  return h("div", { class: "report" }, verdict(told, actions), accuracies(told), middle, labels(told), worst(device, told));
}

function verdict({ decision = {}, model }, actions) {
  const [tone, title] = decision.verdict === "undecided" && decision.promote
    ? ["good", "Accepted: the new model answers"]
    : (VERDICTS[decision.verdict] ?? ["", "Ended"]);
  const fallen = Object.entries(decision.fallen ?? {}).map(([label, fall]) => `${label} −${percent(fall)}`);
  const open = decision.verdict === "undecided" && !decision.promote;
  const refuse = h("button", { type: "button", onclick: () => {
    refuse.nextElementSibling.remove();
    refuse.replaceWith(h("span", { class: "badge" }, "refused: nothing changes on the device"));
  } }, "Refuse");
  return h(
    "section",
    { class: `card verdict ${tone}`, "aria-label": "Verdict" },
    h(
      "div",
      {},
      h("h2", {}, title),
      h("p", {}, h("bdi", {}, decision.reason ?? "")),
      fallen.length ? h("p", { class: "note" }, "Recall fell: ", h("bdi", {}, fallen.join(", "))) : null,
      decision.more_images ? h("p", { class: "note" }, `About ${counted(decision.more_images, "more labeled photo")} would decide it.`) : null,
      open ? h("p", { class: "note" }, "The device has kept nothing of it, and the model before goes on answering. Accept trains it once more, by the same settings; Refuse sends nothing, it only puts the question away.") : null,
      model ? h("p", { class: "note" }, "Version ", h("span", { class: "version inline" }, model)) : null,
    ),
    open
      ? [refuse, h("button", { type: "button", class: "primary", onclick: actions.accept }, "Accept")]
      : decision.promote ? h("button", { type: "button", onclick: actions.rollBack }, "Roll back") : null,
  );
}

function accuracies({ accuracy = {}, decision = {}, seconds = {}, counts = {}, learning_curve: curve, training, taken_over: taken }) {
  const photos = Object.values(counts).reduce((sum, one) => sum + one, 0);
  const now = accuracy.cross_validated ?? accuracy.quantized;
  const line = (name, value) => {
    const fill = h("span", { class: "fill" });
    fill.style.width = `${100 * (value ?? 0)}%`;
    return h("div", { class: "versus" }, h("span", {}, name), h("span", { class: "meter" }, fill), h("b", {}, percent(value, 1)));
  };
  const gain = curve?.gain_per_100;
  return h(
    "section",
    { class: "card part" },
    h("h2", {}, "Old against new"),
    line("New model", now),
    line("Model before", accuracy.previous),
    typeof decision.low === "number"
      ? h("p", { class: "note" }, `Difference ${points(decision.difference)}, between ${points(decision.low)} and ${points(decision.high)} with 90 % certainty, by ${counted(decision.images, "photo")}.`)
      : h("p", { class: "note" }, "The model before does not know these labels, so nothing was compared."),
    h("dl", { class: "small-facts" },
      fact("As it runs, on photos kept apart", percent(accuracy.quantized, 1)),
      fact("Photos", count(photos)),
      training?.epochs ? fact("Epochs", `${count(training.epochs)}, best ${count(training.best_epoch)}${taken?.parts?.includes("epochs") ? `, of version ${taken.version}` : ""}`) : null,
      training ? fact("Loss", `${number(training.loss)}, on photos apart ${number(training.validation_loss)}`) : null,
      fact("Took", seconds.total === undefined ? UNKNOWN : `${seconds.total.toFixed(1)} s`),
      fact("100 more photos", typeof gain === "number" ? `${gain >= 0 ? "+" : "−"}${Math.abs(100 * gain).toFixed(1)} points` : "too few photos tell")),
  );
}

const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
const number = (value) => (typeof value === "number" ? value.toFixed(3) : UNKNOWN);
const points = (share) => `${share >= 0 ? "+" : "−"}${Math.abs(100 * share).toFixed(1)} points`;

function reliability({ calibration }) {
  const bins = calibration?.bins ?? [];
  if (!bins.length) return null;
  const size = 220;
  const at = (share) => 8 + share * (size - 16);
  const most = Math.max(...bins.map((bin) => bin.images));
  const drawn = svg(
    "svg",
    { viewBox: `0 0 ${size} ${size}`, class: "reliability", role: "img", "aria-label": `Reliability: ${bins.map((bin) => `score ${percent(bin.score)}, right ${percent(bin.accuracy)}`).join("; ")}` },
    svg("rect", { x: 8, y: 8, width: size - 16, height: size - 16, class: "frame" }),
    svg("line", { x1: at(0), y1: size - at(0), x2: at(1), y2: size - at(1), class: "ideal" }),
    svg("polyline", { points: bins.map((bin) => `${at(bin.score)},${size - at(bin.accuracy)}`).join(" "), class: "curve" }),
    ...bins.map((bin) => svg("circle", { cx: at(bin.score), cy: size - at(bin.accuracy), r: 3 + 5 * Math.sqrt(bin.images / most), class: "bin" })),
  );
  return h(
    "section",
    { class: "card part" },
    h("h2", {}, "Reliability"),
    h("p", { class: "note" }, "How often the model is right, against the score that it gave; on the line a score is a probability. Larger dots: more photos."),
    drawn,
    h("p", { class: "note" }, `Calibration error ${percent(calibration.after?.error, 1)}, by chance ${percent(calibration.after?.chance, 1)}; before the temperature ${percent(calibration.before?.error, 1)}.`),
  );
}

function worst(device, { worst: images = [], classes = {} }) {
  const photos = new Photos(device);
  const labels = Object.keys(classes);
  const grid = h("div", { class: "grid" }, images.filter((image) => image.id).map((image) => h(
    "button",
    { type: "button", class: "tile-photo", onclick: () => correct(device, image, labels), "aria-label": `${image.label}, predicted ${image.predicted}: correct it` },
    photos.image(image.id),
    h("span", { class: "caption" }, h("span", { class: "what" }, h("b", {}, h("bdi", {}, image.label))), h("span", { class: "note warn" }, "said ", h("bdi", {}, image.predicted))),
  )));
  return h(
    "section",
    { class: "card part wide" },
    h("h2", {}, "Worst photos"),
    images.length ? h("p", { class: "note" }, "Furthest from their label: mislabeled, or worth more photos like them. Press one to correct its label.") : h("p", { class: "note" }, "None of the photos that were kept apart was wrong."),
    grid,
  );
}

function correct(device, image, labels) {
  const photos = new Photos(device);
  const own = h("input", { type: "text", "aria-label": "Another label", placeholder: "Another label", maxlength: "100" });
  const give = async (label) => {
    dialog.close();
    try {
      await command(device, "images_label", { id: image.id, label, ...(label === image.label ? { confirmed: true } : {}) });
      const back = () => { end(); command(device, "images_label", { id: image.id, label: image.label }).then(() => toast("Taken back"), (error) => toast(error.message, { bad: true })); };
      const end = toast(label === image.label ? `${label} is right` : `It is ${label} now; the next training learns it`, { undo: label === image.label ? null : back });
    } catch (error) {
      toast(error.message, { bad: true });
    }
  };
  const dialog = h(
    "dialog",
    { class: "correct", "aria-labelledby": "correct", onclose: () => { photos.end(); dialog.remove(); } },
    h("h2", { id: "correct" }, "What does it show?"),
    photos.image(image.id),
    h("div", { class: "choices" }, labels.map((label) => h("button", { type: "button", class: label === image.label ? "primary small" : "small", onclick: () => give(label) }, h("bdi", {}, label)))),
    h("form", { class: "fresh", onsubmit: (event) => { event.preventDefault(); if (own.value.trim()) give(own.value.trim()); } }, own, h("button", { class: "small" }, "Give")),
    h("div", { class: "actions" }, h("button", { type: "button", onclick: () => dialog.close() }, "Close")),
  );
  document.body.append(dialog);
  dialog.showModal();
}
