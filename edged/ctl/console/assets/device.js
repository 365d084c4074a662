// One device: what its camera sees now, how it is, what it was told.

import { connection } from "./app.js";
import { Boxes, named } from "./boxes.js";
import { chart, Hour } from "./charts.js";
import { confirm, h, setAttribute, setText, toast } from "./dom.js";
import { ago, count, degrees, milliseconds, percent, rate, timeOfDay, UNKNOWN, watts } from "./format.js";
import { command, listen, of } from "./talk.js";

const BADGES = { succeeded: "good", failed: "bad", rejected: "bad", cancelled: "warn", running: "accent", queued: "accent" };
const STATES = { online: "good", degraded: "warn", silent: "bad", offline: "bad" };
const SHARE = "share of what was seen";
const FINAL = ["succeeded", "rejected", "failed", "cancelled"];

export function mount(root, device) {
  const hour = new Hour();
  const live = cameraCard(device);
  const tiles = ["Frames/s", "Latency p95", "Hottest", "Power", "Waiting", "Dropped"].map((name) => {
    const value = h("dd", {}, UNKNOWN);
    return [value, h("div", { class: "tile" }, h("dt", {}, name), value)];
  });
  const alerts = h("div", { class: "alerts", role: "status" });
  const running = h("section", { class: "card running", hidden: true });
  const facts = h("dl", { class: "facts" });
  const charts = {
    latency: chart({ title: "Latency", unit: "ms", format: milliseconds }),
    temp: chart({ title: "Temperature", unit: "°C · shaded where throttled", format: degrees }),
    power: chart({ title: "Power", unit: "W", format: watts, tick: watts }),
    mix: chart({ title: "Label mix", unit: SHARE, format: (value) => percent(value), tick: (value) => percent(value), stacked: true, top: 1 }),
    fps: chart({ title: "Frames", unit: "per second", format: rate }),
    load: chart({ title: "Load", format: (value) => percent(value), tick: (value) => percent(value), top: 1 }),
  };
  const hourly = h("section", { class: "charts wide", "aria-label": "The last hour" }, Object.values(charts).map(({ element }) => element));
  const since = h("p", { class: "note wide" });
  const models = modelsCard(device);
  const log = logCard(device);
  root.append(
    h("h1", { class: "unseen" }, device),
    h(
      "div",
      { class: "device" },
      live.element,
      h(
        "div",
        { class: "side" },
        alerts,
        running,
        h("dl", { class: "tiles" }, tiles.map(([, tile]) => tile)),
        h("section", { class: "card", "aria-label": "Facts" }, facts),
      ),
      hourly,
      since,
      h("div", { class: "lists wide" }, models.element, log.element),
    ),
  );

  let known = null;
  function describe(told) {
    connection(told.connected ? "on" : "broker", told.broker);
    const telemetry = told.telemetry ?? {};
    const here = told.state !== "offline";
    const set = (at, text, unit = "", style = null) => {
      const value = tiles[at][0];
      setAttribute(value, "class", style);
      if (value.dataset.text === text + unit) return;
      value.dataset.text = text + unit;
      value.replaceChildren(text, ...(unit && text !== UNKNOWN ? [h("small", {}, unit)] : []));
    };
    set(0, here ? rate(telemetry.fps) : UNKNOWN);
    set(1, here ? milliseconds(telemetry.latency_ms?.p95) : UNKNOWN, "ms");
    set(2, here ? degrees(greatest(telemetry.temp_c)) : UNKNOWN, "°C", telemetry.throttled && here ? "bad" : null);
    set(3, here ? watts(greatest(telemetry.power_mw)) : UNKNOWN, "W");
    set(4, here ? count(telemetry.outbox) : UNKNOWN, "messages");
    set(5, here ? count(telemetry.dropped) : UNKNOWN, "frames");
    live.describe(told);
    warn(told);
    work(told.job);
    fact(told);
    if (known?.model?.id !== told.model?.id || (known && known.job?.status !== told.job?.status)) models.load();
    known = told;
  }

  function warn(told) {
    const lines = [];
    if (told.state === "offline") lines.push(["", "Offline", "What stands here is what it said last."]);
    if (told.state === "silent") lines.push(["", "Silent", "No telemetry has come for a while."]);
    for (const [name, alert] of Object.entries(told.alerts)) lines.push(["", `${name}, ${ago(alert.since)}`, alert.reason]);
    if (told.state !== "offline") {
      if (told.telemetry?.throttled) lines.push(["warn", "Throttled", "The device slows its clocks down, because of heat or power."]);
      for (const line of told.info?.degraded ?? []) lines.push(["warn", "Degraded", line]);
    }
    const fallback = told.model?.fallback;
    if (fallback) lines.push(["warn", `Went back from ${fallback.id.slice(0, 8)}, ${ago(fallback.since)}`, fallback.reason]);
    const text = JSON.stringify(lines);
    if (alerts.dataset.text === text) return;
    alerts.dataset.text = text;
    alerts.replaceChildren(
      ...lines.map(([kind, head, reason]) => h("div", { class: `alert ${kind}` }, h("b", {}, head), h("small", {}, h("bdi", {}, reason)))),
    );
    alerts.hidden = lines.length === 0;
  }

  let doing = null;
  function work(job) {
    const runs = job && !FINAL.includes(job.status);
    running.hidden = !runs;
    if (!runs) {
      doing = null;
      return;
    }
    if (doing?.id !== job.id) {
      const fill = h("span", { class: "fill" });
      const text = h("span", { class: "note" });
      const stop = h("button", { type: "button", class: "small", onclick: () => act("cancel", { job: job.id }, "Cancelled") }, "Cancel");
      running.replaceChildren(
        h("div", { class: "line" }, h("b", {}, job.cmd), text, h("span", { class: "grow" }), stop),
        h("span", { class: "meter" }, fill),
      );
      doing = { id: job.id, fill, text };
    }
    setText(doing.text, `${job.stage ?? job.status} · ${percent(job.progress)}`);
    doing.fill.style.width = `${100 * job.progress}%`;
  }

  async function act(name, args, done) {
    try {
      await command(device, name, args);
      toast(done);
    } catch (error) {
      toast(error.message, { bad: true });
    }
  }

  function fact(told) {
    const { info, model } = told;
    const performance = info?.performance ?? {};
    const lines = [
      ["State", [h("span", { class: "line" }, h("span", { class: `dot ${STATES[told.state]}` }), told.state)]],
      ["Model", model && [`${model.name} `, h("span", { class: "version" }, model.id), model.accuracy === undefined ? "" : ` · ${percent(model.accuracy, 1)} accurate`]],
      ["Labels", model && [h("bdi", {}, model.labels.length > 8 ? `${count(model.labels.length)}` : model.labels.join(", "))]],
      ["Cameras", info && Object.entries(info.cameras).map(([name, one]) =>
        h("div", {}, h("bdi", {}, `${name}: ${one.source}`), one.width ? ` · ${one.width} × ${one.height}` : "", one.state === "running" ? "" : ` · ${one.state}${one.error ? `: ${one.error}` : ""}`))],
      ["Runtime", info && [info.runtime]],
      ["Sensors", info && [info.sensors, info.sensors_error ? h("span", { class: "note" }, ` (${info.sensors_error})`) : ""]],
      ["Power mode", performance.nvpmodel && [performance.nvpmodel]],
      ["Versions", info && [Object.entries(info.versions).map(([name, version]) => `${name} ${version}`).join(" · ")]],
    ].filter(([, what]) => what && (!Array.isArray(what) || what.length));
    const text = JSON.stringify([told.state, info?.cameras, model, info?.versions, info?.sensors, info?.runtime, performance.nvpmodel]);
    if (facts.dataset.text === text) return;
    facts.dataset.text = text;
    facts.replaceChildren(...lines.map(([name, what]) => h("div", {}, h("dt", {}, name), h("dd", {}, what))));
  }

  function draw(told) {
    hour.take(told);
    const { times } = hour;
    charts.latency.draw(times, hour.kind("latency"));
    charts.temp.draw(times, hour.kind("temp"), hour.series.throttled);
    charts.power.draw(times, hour.kind("power"));
    charts.load.draw(times, hour.kind("load"));
    charts.fps.draw(times, [{ name: "fps", values: hour.series.fps ?? [] }]);
    const cameras = Object.keys(hour.labels).sort();
    const camera = live.camera || cameras[0];
    const { times: columns, lines } = hour.mix(camera);
    charts.mix.tell(live.camera ? `${camera}: ${SHARE}` : SHARE);
    charts.mix.draw(columns, lines);
    charts.power.element.hidden = !hour.kind("power").length;
    charts.temp.element.hidden = !hour.kind("temp").length;
    charts.load.element.hidden = !hour.kind("load").length;
    setAttribute(hourly, "data-count", Object.values(charts).filter(({ element }) => !element.hidden).length);
    setText(since, times.length ? `Charts begin at ${timeOfDay(times[0])}: an hour is kept from when edgectl console starts.` : "");
  }

  const path = () => of(device, `events?${new URLSearchParams({ ...(live.wanted ? { live: "" } : {}), camera: live.camera })}`);
  const handlers = {
    device: describe,
    history: draw,
    log: log.take,
    frame: live.frame,
    noframe: live.failed,
    gone: () => toast(`${device} is not known any more`, { bad: true }),
    lost: connection,
  };
  let end = listen(path, handlers);
  live.onchange = () => {
    end();
    end = listen(path, handlers);
  };
  models.load();
  log.load();
  return () => {
    end();
    live.end();
    for (const one of Object.values(charts)) one.end();
  };
}

const greatest = (readings) => (readings && Object.keys(readings).length ? Math.max(...Object.values(readings)) : undefined);

/** The live frame. `wanted` and `camera` say what to listen to; `onchange` is called when they change. */
function cameraCard(device) {
  const img = h("img", { alt: "", hidden: true });
  const wait = h("p", {}, "Waiting for a frame …");
  const moment = h("span", { class: "badge" });
  const pause = h("button", { type: "button", class: "small", "aria-pressed": "false" }, "Pause");
  const choose = h("select", { "aria-label": "Camera", hidden: true });
  const label = h("bdi", { class: "big" }, UNKNOWN);
  const line = h("p", {}, " ");
  const tops = h("ol", { class: "tops", "aria-label": "Most likely labels" });
  const boxes = new Boxes();
  const element = h(
    "section",
    { class: "camera card", "aria-label": "Camera" },
    h("div", { class: "screen" }, wait, img, boxes.element, h("div", { class: "over" }, moment, h("span", { class: "grow" }), choose, pause)),
    h("div", { class: "seen" }, h("div", {}, label, line), tops),
  );
  const card = { element, wanted: true, camera: "", onchange: () => {}, frame, failed, describe, end };
  let over = false;
  let busy = false;
  moment.hidden = true;

  pause.addEventListener("click", () => {
    card.wanted = !card.wanted;
    setText(pause, card.wanted ? "Pause" : "Go on");
    setAttribute(pause, "aria-pressed", String(!card.wanted));
    card.onchange();
  });
  choose.addEventListener("change", () => {
    card.camera = choose.value;
    img.hidden = true;
    boxes.show({});
    card.onchange();
  });

  // The picture and what stands below it change at the same moment.
  // One of the camera that was shown before may still come.
  async function frame({ number, camera, result }) {
    if (busy || over || camera !== card.camera) return;
    busy = true;
    const next = new Image();
    next.src = of(device, `frames/${number}?${new URLSearchParams({ camera })}`);
    try {
      await next.decode();
      if (camera !== card.camera) throw new Error("another camera was chosen meanwhile");
      img.src = next.src;
      img.hidden = false;
      wait.hidden = true;
      show(result);
    } catch {
      // Another one comes.
    }
    busy = false;
  }

  function show(result) {
    const strange = result.label === "unknown";
    const seen = result.regions ? named(result.regions) : result.label;
    boxes.show(result);
    setText(label, seen ?? UNKNOWN);
    setAttribute(label, "class", strange ? "big strange" : "big");
    const score = result.regions?.length === 0 ? "" : strange ? `unlike what was taught` : percent(result.score, 0);
    const familiar = result.familiarity === undefined ? "" : ` · familiarity ${percent(result.familiarity)}`;
    setText(line, `${score}${familiar}${result.latency_ms ? ` · ${milliseconds(result.latency_ms.total)} ms` : ""}`);
    setAttribute(img, "alt", `Newest frame: ${seen ?? "not classified"}`);
    moment.hidden = false;
    setText(moment, timeOfDay(result.ts));
    const top = result.top ?? [];
    while (tops.childElementCount < top.length) {
      tops.append(h("li", {}, h("bdi", {}), h("span", { class: "meter" }, h("span", { class: "fill" })), h("span", {})));
    }
    while (tops.childElementCount > top.length) tops.lastElementChild.remove();
    top.forEach((one, at) => {
      const [name, meter, value] = tops.children[at].children;
      setText(name, one.label);
      meter.firstElementChild.style.width = `${100 * one.score}%`;
      setText(value, percent(one.score));
    });
  }

  function failed({ error }) {
    wait.hidden = false;
    img.hidden = true;
    boxes.show({});
    setText(wait, error);
  }

  function describe(told) {
    const cameras = Object.keys(told.info?.cameras ?? {});
    if (told.info && choose.dataset.names !== cameras.join("\n")) {
      choose.dataset.names = cameras.join("\n");
      choose.replaceChildren(...cameras.map((name) => h("option", {}, name)));
      choose.hidden = cameras.length < 2;
      const shown = cameras.length < 2 ? "" : cameras.includes(card.camera) ? card.camera : cameras[0];
      choose.value = shown;
      if (shown !== card.camera) {
        card.camera = shown;
        card.onchange();
      }
    }
    pause.hidden = told.state === "offline";
  }

  function end() {
    over = true;
  }

  return card;
}

/** Versions of the model, which answers, and the way back. */
function modelsCard(device) {
  const body = h("tbody", {});
  const back = h("button", { type: "button", class: "small", hidden: true, onclick: rollBack }, "Roll back");
  const empty = h("p", { class: "empty" }, "Asking the device …");
  const table = h(
    "table",
    { hidden: true },
    h("thead", {}, h("tr", {}, h("th", {}, "Version"), h("th", { class: "optional" }, "Network"), h("th", { class: "number optional" }, "Labels"), h("th", { class: "number" }, "Accuracy"), h("th", {}, h("span", { class: "unseen" }, "Action")))),
    body,
  );
  const element = h("section", { class: "card", "aria-labelledby": "models" }, h("header", {}, h("h2", { id: "models" }, "Models"), back), h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Models" }, table), empty);

  async function load() {
    try {
      const { models = [] } = await command(device, "models_list");
      body.replaceChildren(...models.map(row));
      back.hidden = !models.some((model) => model.previous);
      table.hidden = false;
      empty.hidden = true;
    } catch (error) {
      if (table.hidden) setText(empty, error.message);
    }
  }

  function row(model) {
    const state = model.current
      ? h("span", { class: "badge accent" }, "answers")
      : h("button", { type: "button", class: "small", onclick: () => use(model), "aria-label": `Use ${model.name} ${model.id}` }, "Use");
    return h(
      "tr",
      { class: model.current ? "current" : null },
      h("td", {}, h("b", {}, model.name), h("span", { class: "version" }, model.id, model.previous ? " · previous" : "", model.kind === "installed" ? " · installed" : "")),
      h("td", { class: "optional" }, model.backbone ?? UNKNOWN),
      h("td", { class: "number optional" }, count(model.classes)),
      h("td", { class: "number" }, percent(model.accuracy, 1)),
      h("td", {}, state),
    );
  }

  async function use(model) {
    const name = `${model.name} ${model.id.slice(0, 8)}`;
    if (!(await confirm(`Let ${name} answer?`, `It classifies the frames of ${device} from now on.`, "Use it"))) return;
    await act("models_use", { model: model.kind === "installed" ? model.name : model.id }, `${name} answers`);
  }

  async function rollBack() {
    if (!(await confirm("Roll back?", `The version before this one answers again on ${device}.`, "Roll back"))) return;
    await act("rollback", {}, "The version before answers again");
  }

  async function act(name, args, done) {
    try {
      await command(device, name, args);
      toast(done);
    } catch (error) {
      toast(error.message, { bad: true });
    }
    load();
  }

  return { element, load };
}

/** What the device was told, by whomever, and what became of it. */
function logCard(device) {
  const body = h("tbody", {});
  const empty = h("p", { class: "empty" }, "Nothing yet.");
  const table = h("table", { hidden: true }, h("thead", {}, h("tr", {}, h("th", {}, "Time"), h("th", {}, "Command"), h("th", {}, "Outcome"))), body);
  const element = h("section", { class: "card", "aria-labelledby": "log" }, h("header", {}, h("h2", { id: "log" }, "Commands")), h("div", { class: "log", tabindex: "0", role: "group", "aria-label": "Commands" }, table), empty);
  const entries = new Map();

  function draw() {
    const newest = [...entries.values()].sort((a, b) => (b.began ?? b.ts).localeCompare(a.began ?? a.ts)).slice(0, 60);
    body.replaceChildren(
      ...newest.map((entry) =>
        h(
          "tr",
          {},
          h("td", {}, h("time", { datetime: entry.ts }, timeOfDay(entry.began ?? entry.ts))),
          h("td", {}, h("b", {}, entry.cmd ?? UNKNOWN), entry.error ? h("span", { class: "note" }, h("bdi", {}, entry.error)) : ""),
          h("td", {}, h("span", { class: `badge ${BADGES[entry.status] ?? ""}` }, entry.status === "running" ? `${entry.stage ?? "running"} ${percent(entry.progress)}` : entry.status)),
        ),
      ),
    );
    table.hidden = entries.size === 0;
    empty.hidden = entries.size > 0;
  }

  // What took a while the device remembers itself, from before this console was started.
  async function load() {
    try {
      const { jobs = [] } = await command(device, "jobs");
      for (const job of jobs) if (!entries.has(job.id)) entries.set(job.id, job);
      draw();
    } catch {
      // The log of what was heard is there all the same.
    }
  }

  function take(told) {
    for (const entry of told.entries) entries.set(entry.id, entry);
    draw();
  }

  return { element, load, take };
}
