// Elements out of data. Text goes in as text, never as HTML: labels come from strangers.

/** Make an element: `h("a", {class: "x", href: "/", onclick: f, "aria-label": "…"}, "text", child)`. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** Draw an icon of 20 × 20 from path data; screen readers pass it over. */
export function icon(path) {
  const drawn = document.createElementNS(SVG, "svg");
  drawn.setAttribute("viewBox", "0 0 20 20");
  drawn.setAttribute("aria-hidden", "true");
  drawn.classList.add("icon");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  drawn.append(line);
  return drawn;
}

/** Make an SVG element. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** Set text, but only where it changes: what is the same costs no layout. */
export function setText(element, text) {
  if (element.firstChild === null || element.childNodes.length !== 1 || element.firstChild.nodeValue !== text) {
    element.textContent = text;
  }
}

/** Set an attribute, but only where it changes; null takes it away. */
export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

/** Have a screen reader say something when it is idle. */
export function say(text) {
  document.getElementById("says").textContent = text;
}

/** Show a line for a few seconds; `undo` adds a button. Returns what ends it sooner. */
export function toast(text, { bad = false, undo = null } = {}) {
  const line = h("div", { class: bad ? "toast bad" : "toast" }, h("span", {}, text));
  const place = document.getElementById("toasts");
  const end = () => line.remove();
  if (undo) line.append(h("button", { class: "quiet", type: "button", onclick: undo }, "Undo"));
  line.append(h("button", { class: "quiet close", type: "button", "aria-label": "Dismiss", onclick: end }, "×"));
  place.append(line);
  while (place.childElementCount > 3) place.firstElementChild.remove();
  setTimeout(end, bad ? 12000 : 7000);
  return end;
}

/** Ask before something that others will notice; resolves to whether it was agreed to. */
export function confirm(title, text, yes) {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      { "aria-labelledby": "asked", onclose: () => { resolve(dialog.returnValue === "yes"); dialog.remove(); } },
      h(
        "form",
        { method: "dialog" },
        h("h2", { id: "asked" }, title),
        h("p", {}, text),
        h(
          "div",
          { class: "actions" },
          h("button", { value: "no", class: "plain" }, "Cancel"),
          h("button", { value: "yes", class: "primary" }, yes),
        ),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}
