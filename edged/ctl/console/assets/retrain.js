// Retraining: what it can be told, what it is doing, and what came of it.

import { connection } from "./app.js";
import { chart } from "./charts.js";
import { confirm, h, say, setText, toast } from "./dom.js";
import { percent, UNKNOWN } from "./format.js";
import { report as results } from "./report.js";
import { ask, command, listen, of } from "./talk.js";

const STAGES = ["scan", "bottlenecks", "training", "comparison", "export", "evaluation", "learning curve", "writing", "swap"];
const FINAL = ["succeeded", "rejected", "failed", "cancelled"];
const FIRST = ["lr", "epochs"];
const TITLES = { lr: "Learning rate", epochs: "Epochs", batch: "Batch", momentum: "Momentum", l2: "L2", patience: "Patience", seed: "Seed", augment: "Augment", min_accuracy: "Least accuracy", tolerance: "Tolerance" };

export function mount(root, device) {
  const fields = new Map();
  const backbone = h("select", { id: "backbone" }, h("option", { value: "" }, "That of the model which answers"), h("option", { value: "auto" }, "auto: the one that suits the photos best"));
  const main = h("div", { class: "fields" });
  const more = h("div", { class: "fields" });
  const start = h("button", { class: "primary", type: "submit" }, "Retrain");
  const stop = h("button", { type: "button", hidden: true, onclick: cancel }, "Cancel");
  const form = h(
    "form",
    { class: "card settings", onsubmit: (event) => { event.preventDefault(); begin(wanted()); } },
    h("h2", {}, "Retrain the last layer"),
    h("p", { class: "note" }, "The device learns from its labeled photos and goes on classifying meanwhile. Fields that are left empty have the device's own default."),
    main,
    h("details", {}, h("summary", {}, "More settings"), more),
    h("div", { class: "actions" }, stop, start),
  );
  // A browser can tell nothing of a field that it finds wrong in details that are closed. The event does not bubble.
  form.addEventListener("invalid", (event) => {
    const closed = event.target.closest("details:not([open])");
    if (!closed) return;
    event.preventDefault();
    closed.open = true;
    setTimeout(() => form.reportValidity());
  }, true);
  const steps = STAGES.map((name) => h("li", {}, name));
  const fill = h("span", { class: "fill" });
  const state = h("p", { class: "line", role: "status" }, "No training runs.");
  const loss = chart({ title: "Loss", format: (value) => value.toFixed(3), tick: (value) => String(Number(value.toFixed(4))), xs: true });
  const accuracy = chart({ title: "Accuracy while training", format: (value) => percent(value, 1), tick: (value) => percent(value), top: 1, xs: true });
  const live = h(
    "section",
    { class: "card live", "aria-label": "Progress" },
    h("header", {}, h("h2", {}, "Progress")),
    h("div", { class: "inside" }, state, h("span", { class: "meter" }, fill), h("ol", { class: "stages" }, steps), h("div", { class: "pair" }, loss.element, accuracy.element)),
  );
  const outcome = h("div", { class: "outcome" });
  root.append(h("h1", { class: "unseen" }, `Retrain, ${device}`), h("div", { class: "retrain" }, form, h("div", { class: "results" }, live, outcome)));

  let shown = null;
  let running = null;
  let whole = null; // the training whose report has drawn all of its epochs
  let stage = "";
  let newest = ""; // of its epochs
  let installed = new Set(); // networks

  async function prepare() {
    const [hyperparameters, listed] = await Promise.all([
      ask("/api/hyperparameters"),
      command(device, "models_list").catch(() => ({ models: [] })),
    ]);
    installed = new Set((listed.models ?? []).filter((model) => model.kind === "installed").map((model) => model.name));
    backbone.append(...[...installed].sort().map((name) => h("option", { value: name }, name)));
    for (const [name, about] of Object.entries(hyperparameters)) {
      const at = `field-${name}`;
      const input = about.type === "boolean"
        ? h("input", { type: "checkbox", id: at, "aria-describedby": `${at}-about` })
        : h("input", { type: "number", id: at, step: about.type === "integer" ? "1" : "any", min: about.minimum ?? about.exclusiveMinimum, max: about.maximum ?? about.exclusiveMaximum, placeholder: String(about.default), "aria-describedby": `${at}-about` });
      fields.set(name, { input, about });
      const bound = about.type === "boolean" ? "off unless set" : `usually ${about.default}`;
      (FIRST.includes(name) ? main : more).append(
        h("div", { class: "field" }, h("label", { for: at }, TITLES[name] ?? name), input, h("p", { class: "note", id: `${at}-about` }, `${about.description}; ${bound}`)),
      );
    }
    main.append(h("div", { class: "field" }, h("label", { for: "backbone" }, "Network below it"), backbone, h("p", { class: "note" }, "another network starts a new last layer; auto races those that are installed")));
  }

  function wanted() {
    const args = {};
    for (const [name, { input, about }] of fields) {
      if (about.type === "boolean") {
        if (input.checked) args[name] = true;
      } else if (input.value !== "") args[name] = Number(input.value);
    }
    if (backbone.value) args.backbone = backbone.value;
    return args;
  }

  /** The settings of the training that a report tells of, whatever the form says by now. */
  function sameAs({ hyperparameters = {}, choice, backbone: below }) {
    const network = choice?.chosen ?? below;
    return { ...hyperparameters, ...(installed.has(network) ? { backbone: network } : {}) };
  }

  async function begin(args) {
    start.disabled = true;
    try {
      await command(device, "retrain", args);
      say("The training begins");
    } catch (error) {
      toast(error.message, { bad: true });
    }
    start.disabled = running !== null;
  }

  async function cancel() {
    try {
      await command(device, "cancel", running ? { job: running } : {});
      toast("Cancelled");
    } catch (error) {
      toast(error.message, { bad: true });
    }
  }

  function follow(job) {
    const runs = job?.cmd === "retrain" && !FINAL.includes(job.status);
    if (runs && job.id !== running) {
      whole = null;
      newest = "";
      live.classList.add("plain");
    }
    running = runs ? job.id : null;
    start.disabled = runs;
    stop.hidden = !runs;
    outcome.hidden = runs; // what came of an earlier one would be taken for this one's
    const at = runs ? STAGES.indexOf(job.stage) : -1;
    steps.forEach((step, number) => {
      step.className = runs && number < at ? "done" : number === at ? "now" : job?.cmd === "retrain" && job.status === "succeeded" ? "done" : "";
      if (number === at) step.setAttribute("aria-current", "step");
      else step.removeAttribute("aria-current");
    });
    fill.style.width = `${job?.cmd === "retrain" ? 100 * job.progress : 0}%`;
    if (runs) {
      stage = `${job.stage ?? job.status} · ${percent(job.progress)}`;
      setText(state, stage + newest);
    } else if (job?.cmd === "retrain") {
      const judged = job.status === "succeeded" || job.status === "rejected";
      setText(state, judged ? "The last training has ended; below is what came of it." : `The last training ${job.status}${job.error ? `: ${job.error}` : "."}`);
    }
  }

  /** Draw loss and accuracy of epochs. One point is no curve: the line of progress, or the report, tells its numbers. */
  function draw(epochs, losses, accuracies) {
    live.classList.toggle("plain", epochs.length < 2);
    if (epochs.length < 2) return;
    loss.draw(epochs, losses);
    accuracy.draw(epochs, accuracies);
  }

  /** What arrives while it trains: of a quick training an epoch here and there, or none. */
  function curve(told) {
    if (told.run === whole || (whole !== null && told.run !== running)) return;
    const points = told.curve ?? [];
    draw(points.map(([epoch]) => epoch), [{ name: "loss", values: points.map((point) => point[1]) }], [{ name: "accuracy", values: points.map((point) => point[2]) }]);
    const [epoch, lost, right] = points.at(-1) ?? [];
    newest = epoch === undefined ? "" : ` · epoch ${epoch}, loss ${lost?.toFixed(3) ?? UNKNOWN}, accuracy ${percent(right)}`;
    if (running !== null && told.run === running) setText(state, stage + newest);
  }

  /** All that a report tells of its epochs, beside the photos that chose the best one. */
  function history({ epoch: epochs = [], ...told }) {
    const lines = (name) => [{ name: "photos to learn from", values: told[name] }, { name: "photos apart", values: told[`validation_${name}`] }];
    const known = (name) => lines(name).filter(({ values }) => values?.length);
    draw(epochs, known("loss"), known("accuracy"));
  }

  function ended(job) {
    if (job.cmd !== "retrain" || !job.report || shown === job.id) return;
    shown = job.id;
    if (job.report.training?.history) {
      whole = job.id;
      history(job.report.training.history);
    }
    outcome.replaceChildren(results(device, job, {
      accept: async () => {
        if (await confirm("Accept it?", "The device trains once more, by the same settings, and lets the model answer although too few photos tell whether it is better.", "Accept")) begin({ ...sameAs(job.report), accept: true });
      },
      rollBack: async () => {
        if (!(await confirm("Roll back?", `The version before answers again on ${device}.`, "Roll back"))) return;
        try {
          await command(device, "rollback");
          toast("The version before answers again");
        } catch (error) {
          toast(error.message, { bad: true });
        }
      },
    }));
  }

  /** The last training's report, where the device has done something else since. */
  async function last() {
    const { jobs = [] } = await command(device, "jobs");
    const job = jobs.find((one) => one.cmd === "retrain" && (one.status === "succeeded" || one.status === "rejected"));
    if (!job || shown !== null) return;
    const { jobs: [whole] } = await command(device, "jobs", { job: job.id });
    if (shown === null && whole) ended(whole);
  }

  live.classList.add("plain");
  prepare().catch((error) => toast(error.message, { bad: true }));
  last().catch(() => {});
  const end = listen(() => of(device, "events"), {
    device: (told) => {
      connection(told.connected ? "on" : "broker", told.broker);
      follow(told.job);
    },
    log: curve,
    ended,
    lost: connection,
  });
  return () => {
    end();
    loss.end();
    accuracy.end();
  };
}

