// The fleet: a row a device. All rows are in the document, so that a browser's own search finds them; but only those on
// the screen are filled and kept up to date. What a browser does for each step of scrolling grows with what it has to watch
// and to lay out: rows are therefore kept in blocks, which it skips as a whole where they are far from the screen. Screen
// readers are told of none that is skipped: rows say of how many they are which.

import { connection } from "./app.js";
import { h, icon, say, setAttribute, setText } from "./dom.js";
import { count, counted, degrees, milliseconds, percent, rate, UNKNOWN, watts } from "./format.js";
import { listen, of } from "./talk.js";

const PICTURE_MS = 20000; // how old a row's picture may become while it is on the screen
const NEW_LABEL_MS = 5000; // and where its device has seen something else since
const AT_ONCE = 3; // pictures that are asked for at the same time
const REORDER_MS = 1500;
const BLOCK = 10; // rows
const NEAR = "340px 0px"; // what is so far from the screen is filled: half a block, so that scrolling finds it there
const FILL_MS = 4; // of a frame's 16, for filling rows
const STILL_MS = 300; // so long after its last step scrolling is over
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
  const blocks = new Map(); // element → block of lines
  const changed = new Set(); // blocks whose number of shown lines may have changed
  const near = new Set(); // blocks that are on the screen, or nearly
  const due = new Set(); // devices whose lines are to be filled
  const pictures = new Queue();
  let fresh = true;
  let reordering = 0;
  let frame = 0;
  let still = 0;
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
        { role: "row", class: "row head", "aria-rowindex": 1 },
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
        const block = blocks.get(change.target);
        if (block && change.isIntersecting) {
          near.add(block);
          drawAll(block);
        } else near.delete(block);
      }
    },
    { rootMargin: NEAR },
  );

  function take(told) {
    connection(told.connected ? "on" : "broker", told.broker);
    if (fresh) {
      const there = new Set(told.rows.map((row) => row.id));
      for (const id of [...rows.keys()]) if (!there.has(id)) drop(id);
      fresh = false;
    }
    let moved = false;
    const added = [];
    for (const row of told.rows) {
      const before = rows.get(row.id);
      rows.set(row.id, row);
      if (!before) added.push(row);
      else {
        filter(row);
        moved = moved || ORDERS[kept.order][1](before, row) !== 0;
        draw(row.id);
      }
    }
    add(added);
    for (const id of told.gone) drop(id);
    measure();
    total(told.totals);
    if (moved || added.length) scheduleReorder(added.length > 0);
  }

  function add(added) {
    added.sort(compare);
    let last = [...blocks.values()].at(-1);
    for (const row of added) {
      const line = shell(row.id);
      shells.set(row.id, line);
      if (!last || last.lines.size >= BLOCK) last = begin();
      put(line, last);
      filter(row);
    }
  }

  function begin() {
    const block = { element: h("div", { class: "block" }), lines: new Set(), shown: 0 };
    blocks.set(block.element, block);
    list.append(block.element);
    watched.observe(block.element);
    return block;
  }

  function put(line, block) {
    line.block?.lines.delete(line);
    if (line.block) changed.add(line.block);
    line.block = block;
    block.lines.add(line);
    block.element.append(line.element);
    changed.add(block);
  }

  // Tell blocks how high they are: what is skipped is not laid out, and has no height of its own. Tell rows their places.
  function measure() {
    if (!changed.size) return;
    for (const block of changed) {
      if (!block.lines.size) {
        watched.unobserve(block.element);
        near.delete(block);
        blocks.delete(block.element);
        block.element.remove();
        continue;
      }
      let shown = 0;
      for (const { element } of block.lines) if (!element.hidden) shown += 1;
      if (shown === block.shown) continue;
      block.shown = shown;
      block.element.style.setProperty("--rows", shown);
    }
    changed.clear();
    let place = 1; // that of the names of the columns
    for (const { lines } of blocks.values()) {
      for (const line of lines) if (!line.element.hidden) line.stand(place += 1);
    }
    setAttribute(table, "aria-rowcount", place);
  }

  function drop(id) {
    const line = shells.get(id);
    if (line) {
      line.block.lines.delete(line);
      changed.add(line.block);
      line.element.remove();
    }
    for (const one of [rows, shells, due]) one.delete(id);
  }

  const seen = (line) => line !== undefined && near.has(line.block) && !line.element.hidden;

  function draw(id) {
    if (!seen(shells.get(id))) return;
    due.add(id);
    frame ||= requestAnimationFrame(fill);
  }

  function drawAll(block) {
    for (const line of block.lines) draw(line.id);
  }

  // Fill what is due, for a part of a frame. While one scrolls, only lines that are still empty; pictures come afterwards.
  function fill() {
    frame = 0;
    const end = performance.now() + FILL_MS;
    let more = false;
    for (const id of due) {
      const line = shells.get(id);
      if (seen(line) && still && line.filled) continue;
      if (performance.now() > end) {
        more = true;
        break;
      }
      due.delete(id);
      if (!seen(line)) continue;
      line.fill(rows.get(id));
      if (still) due.add(id);
      else pictures.want(id, line, rows.get(id), () => seen(line));
    }
    if (more) frame = requestAnimationFrame(fill);
  }

  function scrolled() {
    clearTimeout(still);
    still = setTimeout(() => {
      still = 0;
      if (due.size) frame ||= requestAnimationFrame(fill);
    }, STILL_MS);
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
    const lines = [...rows.values()].sort(compare).map((row) => shells.get(row.id));
    const before = [...blocks.values()];
    for (let at = 0; at < lines.length; at += BLOCK) {
      const wanted = lines.slice(at, at + BLOCK);
      const block = before[at / BLOCK] ?? begin();
      const { children } = block.element;
      if (wanted.some(({ element }, place) => element !== children[place])) for (const line of wanted) put(line, block);
    }
    measure();
    near.forEach(drawAll);
  }

  function matches(row) {
    if (!FILTERS[kept.filter][1](row)) return false;
    const text = kept.text.trim().toLowerCase();
    if (!text) return true;
    return [row.id, row.label, row.model?.name, row.state, ...row.needs].some((one) => one?.toLowerCase().includes(text));
  }

  function filter(row) {
    const line = shells.get(row.id);
    const hidden = !matches(row);
    if (line.element.hidden === hidden) return;
    line.element.hidden = hidden;
    changed.add(line.block);
    draw(row.id);
  }

  function filterAll() {
    let shown = 0;
    for (const row of rows.values()) {
      filter(row);
      if (matches(row)) shown += 1;
    }
    measure();
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
    const shown = [...list.querySelectorAll(".row:not([hidden])")];
    const at = shown.indexOf(line);
    const to = {
      ArrowDown: () => shown[at + 1],
      ArrowUp: () => shown[at - 1],
      Home: () => shown[0],
      End: () => shown.at(-1),
    }[event.key];
    const target = to?.();
    if (!target) return;
    event.preventDefault();
    target.querySelector("a").focus();
  }

  function shortcut(event) {
    if (event.key === "/" && !(event.target instanceof HTMLInputElement)) {
      event.preventDefault();
      search.focus();
    }
  }

  document.addEventListener("keydown", shortcut);
  document.addEventListener("scroll", scrolled, { passive: true });
  const refresh = setInterval(() => near.forEach(drawAll), PICTURE_MS / 4);
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
    clearTimeout(still);
    cancelAnimationFrame(frame);
    document.removeEventListener("keydown", shortcut);
    document.removeEventListener("scroll", scrolled);
  };
}

// A device's line. It is built when it is first seen, around its link: what is moved loses the focus.
function shell(id) {
  const name = h("a", { href: `/device/${encodeURIComponent(id)}`, "data-link": "" }, id);
  const who = h("span", { class: "who" }, name);
  const first = h("span", { role: "cell", class: "c0" }, who);
  const element = h("div", { role: "row", class: "row", "data-device": id }, first);
  let parts = null;

  function build() {
    const dot = h("span", { class: "dot" });
    const state = h("span", { class: "state" });
    const needs = h("span", { class: "needs" });
    const img = h("img", { alt: "", decoding: "async", hidden: true });
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
    first.prepend(frame);
    who.append(h("span", { class: "line" }, dot, state, needs));
    element.append(
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
    setAttribute(element, "data-working", row.job ? "yes" : null);
    setText(p.job, row.job ? `${row.job.cmd} ${percent(row.job.progress)}` : "");
    p.doing.hidden = !row.job;
    if (row.job) p.done.style.width = `${100 * row.job.progress}%`;
  }

  // A thousand places change at once: an attribute that is the same is not even read.
  let stood = 0;
  function stand(place) {
    if (place !== stood) element.setAttribute("aria-rowindex", place);
    stood = place;
  }

  return { id, element, block: null, fill, stand, get filled() { return parts !== null; }, get img() { return parts?.img; }, asked: -Infinity, pictured: undefined };
}

// Pictures of lines on the screen, a few at a time.
class Queue {
  #waiting = new Map();
  #running = 0;
  #over = false;

  want(id, line, row, still) {
    const now = performance.now();
    const old = row.label === line.pictured ? PICTURE_MS : NEW_LABEL_MS;
    if (document.hidden || row.state === "offline" || now - line.asked < old) return;
    line.asked = now;
    line.pictured = row.label;
    this.#waiting.set(id, { line, row, still });
    this.#next();
  }

  end() {
    this.#over = true;
  }

  #next() {
    for (const [id, { line, row, still }] of this.#waiting) {
      if (this.#running >= AT_ONCE || this.#over) return;
      this.#waiting.delete(id);
      if (still()) this.#load(id, line, row);
      else line.asked = -Infinity;
    }
  }

  // The camera is that of the label beside it.
  async #load(id, line, { camera, label }) {
    this.#running += 1;
    const picture = new Image();
    const wanted = new URLSearchParams({ at: Math.floor(Date.now() / 5000), ...(label === undefined ? {} : { camera, label }) });
    picture.src = of(id, `picture?${wanted}`);
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
