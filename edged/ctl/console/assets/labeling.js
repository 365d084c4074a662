// Labeling: frames that the device kept, those first whose labels help most; one key a label, several at once, undo.

import { connection } from "./app.js";
import { confirm, h, say, setText, toast } from "./dom.js";
import { count, counted, percent } from "./format.js";
import { Photos } from "./photos.js";
import { command, listen, of } from "./talk.js";
import { dropZone } from "./upload.js";

const KEYS = "1234567890";
const WHY = { stranger: "unlike anything taught", uncertain: "uncertain", typical: "typical" };
const AT_ONCE = 4; // commands to the device
const kept = { view: "suggested" };

const VIEWS = {
  suggested: {
    name: "Suggested",
    empty: "No frame waits for a label. Devices keep frames whose labels would help; photos can be dropped here, too.",
    ask: async (device) => {
      const report = await command(device, "images_suggest", { count: 80 });
      return [{ tiles: (report.images ?? []).map((image) => ({ id: image.id, label: null, note: WHY[image.why] ?? "", tone: image.why === "stranger" ? "warn" : "", likely: image.likely?.[0] })) }];
    },
  },
  groups: {
    name: "Strangers in groups",
    empty: "No group: nothing that the model was not taught has been seen several times.",
    ask: async (device) => {
      const report = await command(device, "images_groups", { limit: 30 });
      return (report.groups ?? []).map((group) => ({
        group: group.id,
        title: `${counted(group.size, "frame")} of one kind`,
        likely: group.likely?.[0],
        tiles: group.images.map((id, at) => ({ id, label: null, note: `photo ${count(at + 1)} of ${count(group.images.length)}` })),
      }));
    },
  },
  doubtful: {
    name: "Doubtful labels",
    empty: "No label looks wrong.",
    ask: async (device) => {
      const report = await command(device, "images_doubtful", {});
      return [{ tiles: (report.images ?? []).map((image) => ({ id: image.id, label: image.label, doubt: true, looks: image.looks_like, note: image.confidence === undefined ? "" : `${percent(image.confidence)} likely wrong`, tone: "warn" })) }];
    },
  },
  labeled: {
    name: "Labeled",
    empty: "No photo has a label yet.",
    ask: async (device) => {
      const report = await command(device, "images_list", { limit: 300 });
      return [{ tiles: (report.images ?? []).filter((image) => image.label).map((image) => ({ id: image.id, label: image.label, note: image.split ?? "" })) }];
    },
  },
};

export function mount(root, device) {
  const photos = new Photos(device);
  const tiles = new Map(); // id → {tile, element, group}
  const selected = new Set();
  const actions = []; // what can be taken back, newest last: {changes: [{id, label}], end}, labels as they were before
  let labels = [];
  let anchor = null;
  let asking = 0;
  let offline = null; // unknown until the device's state has been heard
  let over = false;

  const views = Object.entries(VIEWS).map(([key, { name }]) =>
    h("button", { type: "button", "aria-pressed": String(kept.view === key), "data-view": key, onclick: () => choose(key) }, name));
  const grid = h("div", { class: "groups", tabindex: "-1", onclick: pick, onkeydown: steer });
  const empty = h("p", { class: "empty" }, "Asking the device …");
  const away = h("div", { class: "away", role: "status" });
  const status = h("p", { class: "picked", role: "status" });
  const list = h("ul", { class: "labels" });
  const fresh = h("input", { type: "text", maxlength: "100", placeholder: "New label", "aria-label": "New label", autocomplete: "off" });
  const undo = h("button", { type: "button", class: "small", disabled: true, onclick: undoLast }, "Undo");
  const remove = h("button", { type: "button", class: "small", disabled: true, onclick: removeSelected }, "Delete");
  const promise = h("p", { class: "note" });
  const zone = dropZone(device, () => refresh({ stay: true }));
  const form = h("form", { class: "fresh", onsubmit: (event) => { event.preventDefault(); applyNew(); } }, fresh, h("button", { class: "small" }, "Give"));
  root.append(
    h("h1", { class: "unseen" }, `Labeling, ${device}`),
    h(
      "div",
      { class: "labeling" },
      h(
        "section",
        { "aria-label": "Photos" },
        h("div", { class: "tools" }, h("div", { class: "chips", role: "group", "aria-label": "Which photos" }, views), status),
        away,
        grid,
        empty,
      ),
      h(
        "aside",
        { class: "panel", "aria-label": "Labels" },
        h(
          "section",
          { class: "card" },
          h("header", {}, h("h2", {}, "Labels"), undo, remove),
          list,
          form,
          promise,
        ),
        zone.element,
        h("p", { class: "note keys" },
          h("kbd", {}, "1"), "–", h("kbd", {}, "0"), " give a label · ", h("kbd", {}, "N"), " new · ", h("kbd", {}, "U"), " undo · ",
          h("kbd", {}, "Space"), " select · ", h("kbd", {}, "A"), " all · ", h("kbd", {}, "Del"), " delete · ", h("kbd", {}, "Y"), " label is right"),
      ),
    ),
  );

  async function choose(view) {
    kept.view = view;
    for (const button of views) button.setAttribute("aria-pressed", String(button.dataset.view === view));
    await show();
  }

  /** Draw the view; with `stay` what is there stays until the device has answered. The focus goes to the first of `then`. */
  async function show({ stay = false, then = [] } = {}) {
    const turn = (asking += 1);
    if (!stay) clear();
    if (offline) {
      setText(empty, "These photos are on the device.");
      empty.hidden = tiles.size > 0;
      tell();
      return;
    }
    empty.hidden = tiles.size > 0;
    setText(empty, kept.view === "doubtful" ? "The device compares each label with all others …" : "Asking the device …");
    let groups = [];
    try {
      groups = await VIEWS[kept.view].ask(device);
    } catch (error) {
      if (turn === asking) setText(empty, error.message);
      if (turn === asking && tiles.size) toast(error.message, { bad: true });
      return;
    }
    if (turn !== asking || over) return;
    const focused = document.activeElement;
    const idle = grid.contains(focused) || (then.length > 0 && (focused === document.body || focused.disabled));
    const chosen = [...selected];
    clear();
    grid.replaceChildren(...groups.filter((group) => group.tiles.length).map(section));
    empty.hidden = grid.childElementCount > 0;
    setText(empty, VIEWS[kept.view].empty);
    for (const id of chosen) if (tiles.has(id)) mark(id, true);
    if (stay && idle) focusOn([...then, focused.dataset.id]);
    tell();
  }

  function clear() {
    selected.clear();
    tiles.clear();
    grid.replaceChildren();
  }

  /** Move the focus to the first of these photos that is there, else to any photo, else to where photos would be. */
  function focusOn(ids) {
    const id = ids.find((one) => tiles.has(one));
    const target = tiles.get(id)?.element ?? grid.querySelector(".tile-photo") ?? grid;
    target.focus();
  }

  function section(group) {
    const shown = h("div", { class: "grid", role: "group", "aria-label": group.title ?? VIEWS[kept.view].name }, group.tiles.map((tile) => tileOf(tile, group.group)));
    if (!group.title) return shown;
    return h(
      "section",
      { class: "card group", "data-group": group.group },
      h(
        "header",
        {},
        h("h2", {}, group.title),
        group.likely ? h("span", { class: "note" }, "the model says ", h("bdi", {}, group.likely.label), ` ${percent(group.likely.score)}`) : null,
        h("button", { type: "button", class: "small", onclick: () => selectGroup(group) }, "Select all"),
      ),
      shown,
    );
  }

  function tileOf(tile, group) {
    const caption = h("span", { class: "caption" });
    const element = h("button", { type: "button", class: "tile-photo", "aria-pressed": "false", "data-id": tile.id }, photos.image(tile.id), caption);
    tiles.set(tile.id, { tile, element, group, caption });
    describe(tile.id);
    return element;
  }

  function describe(id) {
    const { tile, element, caption } = tiles.get(id);
    const what = tile.label
      ? [h("b", {}, h("bdi", {}, tile.label)), tile.doubt && tile.looks ? h("span", {}, " looks like ", h("bdi", {}, tile.looks)) : null]
      : [tile.likely ? h("span", {}, h("bdi", {}, tile.likely.label), ` ${percent(tile.likely.score)}`) : h("span", {}, "no label")];
    caption.replaceChildren(h("span", { class: "what" }, what), tile.note ? h("span", { class: `note ${tile.tone ?? ""}` }, tile.note) : "");
    element.classList.toggle("done", Boolean(tile.given));
  }

  // Selecting: a click or Space for one, Shift for all between, A for all.
  function pick(event) {
    const element = event.target.closest(".tile-photo");
    if (!element) return;
    const { id } = element.dataset;
    if (event.shiftKey && anchor && tiles.has(anchor)) {
      const ids = [...tiles.keys()];
      const [from, to] = [ids.indexOf(anchor), ids.indexOf(id)].sort((a, b) => a - b);
      for (const one of ids.slice(from, to + 1)) mark(one, true);
    } else {
      mark(id, !selected.has(id));
      anchor = id;
    }
    tell();
  }

  function mark(id, on) {
    if (on) selected.add(id);
    else selected.delete(id);
    tiles.get(id)?.element.setAttribute("aria-pressed", String(on));
  }

  function selectGroup(group) {
    for (const id of [...selected]) mark(id, false);
    for (const { id } of group.tiles) if (tiles.has(id)) mark(id, true);
    tell();
  }

  function tell() {
    const number = selected.size;
    setText(status, number ? `${count(number)} selected` : tiles.size ? counted(tiles.size, "photo") : "");
    remove.disabled = number === 0;
    undo.disabled = actions.length === 0;
  }

  function steer(event) {
    const element = event.target.closest(".tile-photo");
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: 0, ArrowDown: 0, Home: 0, End: 0 }[event.key];
    if (!element || step === undefined) return;
    event.preventDefault();
    const all = [...grid.querySelectorAll(".tile-photo")];
    const at = all.indexOf(element);
    let target = all[at + step];
    if (event.key === "Home") target = all[0];
    if (event.key === "End") target = all.at(-1);
    if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      const here = element.getBoundingClientRect();
      const down = event.key === "ArrowDown";
      const rows = (down ? all.slice(at + 1) : all.slice(0, at).reverse());
      target = rows.find((one) => {
        const there = one.getBoundingClientRect();
        return Math.abs(there.left - here.left) < here.width / 2 && (down ? there.top > here.top : there.top < here.top);
      });
    }
    target?.focus();
  }

  function keys(event) {
    if (document.querySelector("dialog[open]")) return; // keys are the dialog's, Escape above all
    if (event.ctrlKey || event.metaKey || event.altKey) {
      if (event.key === "z" && !typing(event)) {
        event.preventDefault();
        undoLast();
      }
      return;
    }
    if (typing(event)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const at = KEYS.indexOf(event.key);
    if (at >= 0 && at < labels.length) give(labels[at].name);
    else if (event.key === "n" || event.key === "N") fresh.focus();
    else if (event.key === "u" || event.key === "U") undoLast();
    else if (event.key === "a" || event.key === "A") { for (const id of tiles.keys()) mark(id, true); tell(); }
    else if (event.key === "y" || event.key === "Y") confirmSelected();
    else if (event.key === "Delete") removeSelected();
    else if (event.key === "Escape") { for (const id of [...selected]) mark(id, false); tell(); }
    else return;
    event.preventDefault();
  }

  const typing = (event) => event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;

  /** The photos that a key is for: those selected, else the one in focus. */
  function meant() {
    if (selected.size) return [...selected];
    const focused = document.activeElement?.closest?.(".tile-photo");
    return focused ? [focused.dataset.id] : [];
  }

  async function applyNew() {
    const name = fresh.value.trim();
    if (name && (await give(name))) fresh.value = "";
  }

  /** Whether the device is away; then nothing is sent, and a line says so. */
  function isAway() {
    if (offline) toast(`${device} is offline: nothing was changed.`, { bad: true });
    return offline;
  }

  /** Give the photos a label; returns whether any of them has it now. */
  async function give(label, { confirmed = null } = {}) {
    const ids = meant();
    if (!ids.length) {
      toast("Select photos first, or move to one with the arrow keys.");
      return false;
    }
    if (isAway()) return false;
    const before = ids.map((id) => ({ id, label: tiles.get(id)?.tile.label ?? null }));
    const next = neighbour(ids);
    const faults = await each(ids, (id) => command(device, "images_label", { id, label, ...(confirmed === null ? {} : { confirmed }) }));
    const done = before.filter(({ id }) => !faults.has(id));
    if (done.length) {
      const action = { changes: done };
      actions.push(action);
      for (const { id } of done) gone(id, label);
      action.end = toast(`${counted(done.length, "photo")}: ${label}`, { undo: () => takeBack(action) });
      say(`${counted(done.length, "photo")} labeled ${label}`);
    }
    if (faults.size) toast([...faults.values()][0], { bad: true });
    if (done.length) focusOn([next]);
    tell();
    await recount();
    return done.length > 0;
  }

  /** Somebody has looked at doubtful labels and found them right. */
  async function confirmSelected() {
    const ids = meant().filter((id) => tiles.get(id)?.tile.label);
    for (const label of new Set(ids.map((id) => tiles.get(id).tile.label))) {
      const same = ids.filter((id) => tiles.get(id)?.tile.label === label);
      for (const id of [...selected]) mark(id, false);
      for (const id of same) mark(id, true);
      await give(label, { confirmed: true });
    }
  }

  async function removeSelected() {
    const ids = meant();
    if (!ids.length || isAway()) return;
    if (!(await confirm(`Delete ${counted(ids.length, "photo")}?`, "They are deleted on the device. This cannot be undone.", "Delete"))) return;
    const next = neighbour(ids);
    const faults = await each(ids, (id) => command(device, "images_remove", { id }));
    for (const id of ids) if (!faults.has(id)) gone(id, null);
    if (faults.size < ids.length) focusOn([next]);
    if (faults.size) toast([...faults.values()][0], { bad: true });
    tell();
    await recount();
  }

  function undoLast() {
    if (actions.length) takeBack(actions.at(-1));
  }

  /** Give photos the labels that they had before an action. One that was given another label since keeps that. */
  async function takeBack(action) {
    const at = actions.indexOf(action);
    if (at < 0 || isAway()) return;
    actions.splice(at, 1);
    action.end();
    tell();
    const before = new Map(action.changes.map(({ id, label }) => [id, label]));
    for (const { changes } of actions.slice(at)) {
      for (const change of changes.filter(({ id }) => before.has(id))) {
        change.label = before.get(change.id); // taking that back, too, leads to where it was before both
        before.delete(change.id);
      }
    }
    const ids = [...before.keys()];
    const faults = await each(ids, (id) => {
      const label = before.get(id);
      return label ? command(device, "images_label", { id, label }) : command(device, "images_unlabel", { id });
    });
    if (faults.size) {
      action.changes = action.changes.filter(({ id }) => faults.has(id));
      actions.splice(at, 0, action);
    }
    const others = action.changes.length - before.size;
    const rest = !faults.size && others ? `; ${counted(others, "photo")} given another label since` : "";
    toast(faults.size ? [...faults.values()][0] : `Taken back: ${counted(ids.length, "photo")}${rest}`, { bad: faults.size > 0 });
    await refresh({ stay: true, then: ids });
  }

  /** The photo to go on with: the first after those that go. */
  function neighbour(ids) {
    const all = [...grid.querySelectorAll(".tile-photo")];
    const last = Math.max(...ids.map((id) => all.findIndex((one) => one.dataset.id === id)));
    const stays = (one) => one && !ids.includes(one.dataset.id);
    return (all.slice(last + 1).find(stays) ?? all.slice(0, last).reverse().find(stays))?.dataset.id;
  }

  function gone(id, label) {
    selected.delete(id);
    const entry = tiles.get(id);
    if (!entry) return;
    if (kept.view === "labeled" && label) {
      entry.tile.label = label;
      mark(id, false);
      describe(id);
      return;
    }
    tiles.delete(id);
    const holder = entry.element.parentElement;
    entry.element.remove();
    if (!holder.childElementCount) holder.closest(".group")?.remove();
    if (!tiles.size) {
      empty.hidden = false;
      setText(empty, VIEWS[kept.view].empty);
    }
  }

  /** Do something for each, a few at a time; returns those that failed, with the reason. */
  async function each(ids, act) {
    const waiting = [...ids];
    const faults = new Map();
    const work = async () => {
      for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) {
        try {
          await act(id);
        } catch (error) {
          faults.set(id, error.message);
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    return faults;
  }

  async function counts() {
    const report = await command(device, "images_list", { limit: 0 });
    const told = Object.entries(report.counts ?? {});
    const names = new Set(told.map(([name]) => name));
    labels = [...labels.filter(({ name }) => names.has(name)).map(({ name }) => ({ name, number: report.counts[name] })),
      ...told.filter(([name]) => !labels.some((one) => one.name === name)).map(([name, number]) => ({ name, number }))];
    const most = Math.max(1, ...labels.map(({ number }) => number));
    list.replaceChildren(
      ...labels.map(({ name, number }, at) => {
        const fill = h("span", { class: "fill" });
        fill.style.width = `${(100 * number) / most}%`;
        return h("li", {}, h("button", { type: "button", onclick: () => give(name), "aria-label": `${name}, ${counted(number, "photo")}${KEYS[at] ? `, key ${KEYS[at]}` : ""}` },
          KEYS[at] ? h("kbd", {}, KEYS[at]) : h("span", {}), h("bdi", {}, name), h("span", { class: "meter" }, fill), h("span", { class: "number" }, count(number))));
      }),
    );
    const waiting = report.unlabeled ?? 0;
    setText(views[0], waiting ? `Suggested ${count(waiting)}` : "Suggested");
  }

  async function promised() {
    setText(promise, "What more photos would bring is told after a training.");
    try {
      const { jobs = [] } = await command(device, "jobs");
      const last = jobs.find((job) => job.cmd === "retrain" && (job.status === "succeeded" || job.status === "rejected"));
      if (!last) return;
      const { jobs: [job] } = await command(device, "jobs", { job: last.id });
      const curve = job?.report?.learning_curve;
      const gain = curve?.gain_per_100;
      if (curve) setText(promise, "Too few photos judge by now to tell what more would bring.");
      if (typeof gain === "number") setText(promise, `By the learning curve, 100 more photos would add about ${(100 * gain).toFixed(1)} points of accuracy.`);
    } catch {
      // The labels are there all the same.
    }
  }

  /** Ask for the labels' numbers again; what the page shows stays where the device does not tell them. */
  async function recount() {
    try {
      await counts();
    } catch (error) {
      toast(error.message, { bad: true });
    }
  }

  async function refresh(how = {}) {
    if (!offline) await recount();
    await show(how);
  }

  function hear(told) {
    connection(told.connected ? "on" : "broker", told.broker);
    const before = offline;
    offline = told.state === "offline";
    if (offline === before) return;
    away.replaceChildren(...(offline ? [h("p", { class: "alert" }, `${device} is offline. Labels can be given when it is back; those that were given are kept on the device.`)] : []));
    refresh({ stay: before !== null });
    if (!offline) promised();
  }

  document.addEventListener("keydown", keys);
  const end = listen(() => of(device, "events"), { device: hear, lost: connection });
  return () => {
    over = true;
    end();
    photos.end();
    zone.end();
    document.removeEventListener("keydown", keys);
  };
}
