// The fleet: a row a device. All rows are in the document, so that a browser's own search finds them and a screen reader
// can count them; but only those on the screen are filled and kept up to date.

import { connection } from "./app.js";
import { h, icon, say, setAttribute, setText } from "./dom.js";
import { count, counted, degrees, milliseconds, percent, rate, UNKNOWN, watts } from "./format.js";
import { listen, of } from "./talk.js";

const PICTURE_MS = 20000; // how old a row's picture may become while it is on the screen
const AT_ONCE = 3; // pictures that are asked for at the same time
const REORDER_MS = 1500;
const CAMERA = "M3 6.500A1.500 1.500 0 0 1 4.500 5h1.700l1-1.500h5.600l1 1.500h1.700A1.500 1.500 0 0 1 17 6.500v7a1.500 1.500 0 0 1-1.500 1.500h-11A1.500 1.500 0 0 1 3 13.500zM10 12.500a2.700 2.700 0 1 0 0-5.400 2.700 2.700 0 0 0 0 5.400z";
const STATES = { online: "good", degraded: "warn", silent: "bad", offline: "bad" };
const RANK = { offline: 4, silent: 0, throttled: 2, outbox: 2, degraded: 3 };
const COLUMNS = ["Device", "Sees", "Frames/s", "p95 ms", "°C", "W", "Model", "Job"];
const FILTERS = {
  all: ["All", () => true],
  attention: ["Attention", (row) => row.needs.length > 0],
  working: ["Working", (row) => row.job !== undefined],
  offline: ["Offline", (row) => row.state === "offline"],
};
const natural = new Intl.Collator("en", { numeric: true }).compare;
const kept = { text: "", filter: "all", order: "attention" }; // what was chosen stays when one comes back

// What needs a person stands first. Devices that are off stand last: somebody switched them off, most of the time.
const rank = (row) => (row.needs.length ? (RANK[row.needs[0]] ?? 1) : 9) + (row.state === "offline" ? 20 : 0);
const ORDERS = {
  attention: ["Attention first", (a, b) => rank(a) - rank(b)],
  name: ["By name", () => 0],
  temperature: ["Hottest first", (a, b) => (b.temp ?? -1) - (a.temp ?? -1)],
  latency: ["Slowest first", (a, b) => (b.p95 ?? -1) - (a.p95 ?? -1)],
  familiarity: ["Strangest first", (a, b) => (a.familiarity ?? 2) - (b.familiarity ?? 2)],
};

export function mount(root) {
  const rows = new Map(); // device → row, as the server told
  const shells = new Map(); // device → its line in the document, with what is in it
  const visible = new Set();
  const pictures = new Queue();
  let fresh = true;
  let reordering = 0;
  let attention = null;

  const tiles = ["Online", "Need attention", "Frames a second", "Messages a second"].map((name) => {
    const value = h("dd", {}, UNKNOWN);
    return [value, h("div", { class: "tile" }, h("dt", {}, name), value)];
  });
  const chips = Object.entries(FILTERS).map(([key, [name]]) => {
    const number = h("span", { class: "number" });
    const chip = h(
      "button",
      {
        type: "button",
        "aria-pressed": String(kept.filter === key),
        onclick: () => {
          kept.filter = key;
          for (const other of chips) setAttribute(other.chip, "aria-pressed", String(other.key === key));
          filterAll();
        },
      },
      `${name} `,
      number,
    );
    return { key, chip, number };
  });
  const search = h("input", {
    type: "search",
    id: "search",
    placeholder: "Filter by device, label, model",
    "aria-label": "Filter by device, label or model",
    value: kept.text,
    autocomplete: "off",
    spellcheck: "false",
    oninput: () => {
      kept.text = search.value;
      filterAll();
    },
  });
  const order = h(
    "select",
    {
      "aria-label": "Order",
      onchange: () => {
        kept.order = order.value;
        reorder();
      },
    },
    Object.entries(ORDERS).map(([key, [name]]) => h("option", { value: key, selected: key === kept.order }, name)),
  );
  const list = h("div", { class: "rows", role: "rowgroup", onkeydown: walk });
  const table = h(
    "div",
    { class: "fleet card", role: "table", "aria-label": "Devices" },
    h(
      "div",
      { role: "rowgroup", class: "heads" },
      h(
        "div",
        { role: "row", class: "row head" },
        COLUMNS.map((name, at) => h("span", { role: "columnheader", class: `c${at}` }, name)),
      ),
    ),
    list,
  );
  const empty = h("p", { class: "empty" }, "Waiting for devices …");
  root.append(
    h("h1", { class: "unseen" }, "Fleet"),
    h("dl", { class: "tiles" }, tiles.map(([, tile]) => tile)),
    h(
      "div",
      { class: "tools" },
      search,
      h("div", { class: "chips", role: "group", "aria-label": "Which devices" }, chips.map(({ chip }) => chip)),
      order,
    ),
    table,
    empty,
  );

  const watched = new IntersectionObserver(
    (changes) => {
      for (const change of changes) {
        const id = change.target.dataset.device;
        if (change.isIntersecting) {
          visible.add(id);
          draw(id);
        } else visible.delete(id);
      }
    },
    { rootMargin: "150px 0px" },
  );

  function take(changed) {
    connection(changed.connected ? "on" : "broker", changed.broker);
    if (fresh) {
      const told = new Set(changed.rows.map((row) => row.id));
      for (const id of [...rows.keys()]) if (!told.has(id)) drop(id);
      fresh = false;
    }
    let moved = false;
    const added = [];
    for (const row of changed.rows) {
      const before = rows.get(row.id);
      rows.set(row.id, row);
      if (!before) added.push(row);
      else {
        filter(row);
        moved = moved || ORDERS[kept.order][1](before, row) !== 0;
        if (visible.has(row.id)) draw(row.id);
      }
    }
    add(added);
    for (const id of changed.gone) drop(id);
    total(changed.totals);
    if (moved || added.length) scheduleReorder(added.length > 0);
  }

  function add(added) {
    added.sort(compare);
    const lines = document.createDocumentFragment();
    for (const row of added) {
      const line = shell(row.id);
      shells.set(row.id, line);
      filter(row);
      lines.append(line.element);
    }
    list.append(lines);
    for (const row of added) watched.observe(shells.get(row.id).element);
  }

  function drop(id) {
    const line = shells.get(id);
    if (line) {
      watched.unobserve(line.element);
      line.element.remove();
    }
    for (const one of [rows, shells, visible]) one.delete(id);
  }

  function draw(id) {
    const line = shells.get(id);
    const row = rows.get(id);
    if (!line || !row) return;
    line.fill(row);
    pictures.want(id, line, row, () => visible.has(id));
  }

  const compare = (a, b) => ORDERS[kept.order][1](a, b) || natural(a.id, b.id);

  // Lines do not move under somebody's pointer or focus.
  function scheduleReorder(atOnce) {
    if (reordering) return;
    reordering = setTimeout(() => {
      reordering = 0;
      if (list.matches(":hover") || list.contains(document.activeElement)) scheduleReorder(false);
      else reorder();
    }, atOnce ? 0 : REORDER_MS);
  }

  function reorder() {
    let next = list.firstElementChild;
    for (const row of [...rows.values()].sort(compare)) {
      const { element } = shells.get(row.id);
      if (element === next) next = next.nextElementSibling;
      else list.insertBefore(element, next);
    }
  }

  function matches(row) {
    if (!FILTERS[kept.filter][1](row)) return false;
    const text = kept.text.trim().toLowerCase();
    if (!text) return true;
    return [row.id, row.label, row.model?.name, row.state, ...row.needs].some((one) => one?.toLowerCase().includes(text));
  }

  function filter(row) {
    shells.get(row.id).element.hidden = !matches(row);
  }

  function filterAll() {
    let shown = 0;
    for (const row of rows.values()) {
      filter(row);
      if (matches(row)) shown += 1;
    }
    tell(shown);
    say(`${counted(shown, "device")} shown`);
  }

  function tell(shown) {
    empty.hidden = shown > 0;
    setText(empty, rows.size ? "No device matches." : "Waiting for devices …");
    table.hidden = shown === 0;
  }

  function total(totals) {
    const needing = [...rows.values()].filter((row) => row.needs.length && row.state !== "offline").length;
    const of = totals.online + totals.offline;
    setText(tiles[0][0], `${count(totals.online)} of ${count(of)}`);
    setText(tiles[1][0], count(needing));
    setAttribute(tiles[1][0], "class", needing ? "warn" : null);
    setText(tiles[2][0], count(totals.frames_per_s));
    setText(tiles[3][0], count(totals.messages_per_s));
    let shown = 0;
    for (const row of rows.values()) if (matches(row)) shown += 1;
    for (const { key, number } of chips) {
      let matching = 0;
      for (const row of rows.values()) if (FILTERS[key][1](row)) matching += 1;
      setText(number, count(matching));
    }
    tell(shown);
    if (attention !== null && needing !== attention) say(`${counted(needing, "device")} need attention`);
    attention = needing;
  }

  // Arrow keys go from device to device; Home and End to the first and last.
  function walk(event) {
    const line = event.target.closest(".row");
    const shown = () => [...list.children].filter((one) => !one.hidden);
    const to = {
      ArrowDown: () => next(line, "nextElementSibling"),
      ArrowUp: () => next(line, "previousElementSibling"),
      Home: () => shown()[0],
      End: () => shown().at(-1),
    }[event.key];
    const target = to?.();
    if (!target) return;
    event.preventDefault();
    target.querySelector("a").focus();
  }

  function next(line, way) {
    let at = line?.[way];
    while (at?.hidden) at = at[way];
    return at;
  }

  function shortcut(event) {
    if (event.key === "/" && !(event.target instanceof HTMLInputElement)) {
      event.preventDefault();
      search.focus();
    }
  }

  document.addEventListener("keydown", shortcut);
  const refresh = setInterval(() => visible.forEach(draw), PICTURE_MS / 4);
  const end = listen(() => "/api/fleet", {
    fleet: take,
    opened: () => { fresh = true; },
    lost: connection,
  });
  return () => {
    end();
    watched.disconnect();
    pictures.end();
    clearInterval(refresh);
    clearTimeout(reordering);
    document.removeEventListener("keydown", shortcut);
  };
}

// A device's line. It is built when it is first seen.
function shell(id) {
  const name = h("a", { href: `/device/${encodeURIComponent(id)}`, "data-link": "" }, id);
  const element = h("div", { role: "row", class: "row", "data-device": id }, h("span", { role: "cell", class: "c0" }, name));
  let parts = null;

  function build() {
    const dot = h("span", { class: "dot" });
    const state = h("span", { class: "state" });
    const needs = h("span", { class: "needs" });
    const img = h("img", { alt: "", hidden: true });
    const frame = h("span", { class: "thumb" }, icon(CAMERA), img);
    const label = h("bdi", { class: "label" });
    const more = h("span", { class: "more" });
    const bar = h("span", { class: "fill" });
    const score = h("span", { class: "score" });
    const familiar = h("span", { class: "familiar" });
    const numbers = ["fps", "ms", "°C", "W"].map((unit) => [h("b", {}), h("span", { class: "unit" }, unit)]);
    const model = h("span", { class: "name" });
    const version = h("span", { class: "version" });
    const job = h("span", { class: "job" });
    const done = h("span", { class: "fill" });
    const doing = h("span", { class: "meter", hidden: true }, done);
    const cell = (at, ...children) => h("span", { role: "cell", class: `c${at}` }, children);
    element.replaceChildren(
      cell(0, frame, h("span", { class: "who" }, name, h("span", { class: "line" }, dot, state, needs))),
      cell(1, h("span", { class: "line" }, label, more), h("span", { class: "line small" }, h("span", { class: "meter" }, bar), score, familiar)),
      ...numbers.map((number, at) => cell(at + 2, number)),
      cell(6, model, version),
      cell(7, job, doing),
    );
    return { dot, state, needs, img, frame, label, more, bar, score, familiar, numbers, model, version, job, done, doing };
  }

  function fill(row) {
    parts ??= build();
    const p = parts;
    setAttribute(element, "data-state", row.state);
    setAttribute(p.dot, "class", `dot ${STATES[row.state]}`);
    setText(p.state, row.state);
    const needs = row.needs.filter((need) => need !== row.state);
    setText(p.needs, needs.join(", "));
    setAttribute(p.needs, "title", Object.values(row.alerts ?? {}).join("\n") || null);
    const strange = row.label === "unknown";
    setText(p.label, row.label ?? UNKNOWN);
    setAttribute(p.label, "class", strange ? "label strange" : "label");
    setText(p.more, row.more ? `+${row.more}` : "");
    p.bar.style.width = `${100 * (row.score ?? 0)}%`;
    setText(p.score, row.score === undefined ? "" : percent(row.score));
    setText(p.familiar, row.familiarity === undefined ? "" : `known ${percent(row.familiarity)}`);
    const values = [rate(row.fps), milliseconds(row.p95), degrees(row.temp), watts(row.power)];
    values.forEach((value, at) => setText(p.numbers[at][0], value));
    setAttribute(p.numbers[2][0], "class", row.throttled ? "bad" : null);
    setText(p.model, row.model?.name ?? UNKNOWN);
    setText(p.version, row.model?.id.slice(0, 6) ?? "");
    setText(p.job, row.job ? `${row.job.cmd} ${percent(row.job.progress)}` : "");
    p.doing.hidden = !row.job;
    if (row.job) p.done.style.width = `${100 * row.job.progress}%`;
  }

  return { element, fill, get img() { return parts?.img; }, asked: -Infinity };
}

// Pictures of lines on the screen, a few at a time.
class Queue {
  #waiting = new Map();
  #running = 0;
  #over = false;

  want(id, line, row, still) {
    const now = performance.now();
    if (document.hidden || row.state === "offline" || now - line.asked < PICTURE_MS) return;
    line.asked = now;
    this.#waiting.set(id, { line, still });
    this.#next();
  }

  end() {
    this.#over = true;
  }

  #next() {
    for (const [id, { line, still }] of this.#waiting) {
      if (this.#running >= AT_ONCE || this.#over) return;
      this.#waiting.delete(id);
      if (still()) this.#load(id, line);
      else line.asked = -Infinity;
    }
  }

  async #load(id, line) {
    this.#running += 1;
    const picture = new Image();
    picture.src = of(id, `picture?at=${Math.floor(Date.now() / 5000)}`);
    try {
      await picture.decode();
      if (line.img) {
        line.img.src = picture.src;
        line.img.hidden = false;
      }
    } catch {
      line.asked += 2 * PICTURE_MS; // it has no camera, or none that answers
    }
    this.#running -= 1;
    this.#next();
  }
}
