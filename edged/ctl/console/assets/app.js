// Which page the address names. Pages are modules with `mount(root, parts)`, which returns what ends them.

import { h, say } from "./dom.js";
import { mount as device } from "./device.js";
import { mount as fleet } from "./fleet.js";
import { mount as labeling } from "./labeling.js";
import { mount as retrain } from "./retrain.js";

const main = document.getElementById("main");
const trail = document.getElementById("trail");
const link = document.getElementById("link");
const notice = document.getElementById("notice");
const TABS = [["", "Overview", device], ["labeling", "Labeling", labeling], ["retrain", "Retrain", retrain]];
let unmount = () => {};

/** Show which broker it is, and whether it is there; else what is wrong, as `listen` tells it. */
export function connection(state, broker = "") {
  const texts = {
    on: broker,
    broker: "Broker lost, trying again",
    server: "edgectl console has gone, trying again",
    token: "A new token is needed",
    unknown: "No such device",
  };
  if (link.textContent !== texts[state]) link.textContent = texts[state];
  link.classList.toggle("bad", state !== "on");
  notify(state);
}

/** Say above the page what a person has to do. */
function notify(state) {
  if ((notice.dataset.state ?? "") === (NOTICES[state] ? state : "")) return;
  notice.dataset.state = NOTICES[state] ? state : "";
  notice.replaceChildren(...(NOTICES[state] ? [h("p", { class: "alert" }, NOTICES[state]())] : []));
}

const NOTICES = {
  token: () => "edgectl console was started anew and asks for a new token: open the address that it has printed. What stands here is old.",
  unknown: () => [
    "No device is known here that is called ",
    h("bdi", {}, decodeURIComponent(location.pathname.split("/")[2] ?? "")),
    ". ",
    h("a", { class: "plainly", href: "/", "data-link": "" }, "Show all devices"),
  ],
};

/** Go to another page of ours. */
export function go(path) {
  history.pushState(null, "", path);
  show(true);
}

function show(moved) {
  unmount();
  main.replaceChildren();
  trail.replaceChildren();
  notify("on");
  const [first, name, part = ""] = location.pathname.split("/").slice(1).map(decodeURIComponent);
  let title = "Fleet";
  if (first === "device" && name) {
    const tab = TABS.find(([path]) => path === part) ?? TABS[0];
    title = `${name} · ${tab[1]}`;
    trail.append(
      h("a", { class: "crumb", href: "/", "data-link": "" }, "Fleet"),
      h("span", { class: "where" }, name),
      ...(TABS.length > 1 ? [h("ul", { class: "tabs" }, TABS.map(([path, text]) =>
        h("li", {}, h("a", {
          href: `/device/${encodeURIComponent(name)}${path && `/${path}`}`,
          "data-link": "",
          "aria-current": path === tab[0] ? "page" : null,
        }, text))))] : []),
    );
    unmount = tab[2](main, name);
  } else {
    trail.append(h("span", { class: "where" }, "Fleet"));
    unmount = fleet(main);
  }
  document.title = `${title} · edged`;
  if (moved) {
    window.scrollTo(0, 0);
    main.focus({ preventScroll: true });
    say(title);
  }
}

document.addEventListener("click", (event) => {
  const anchor = event.target instanceof Element ? event.target.closest("a[data-link]") : null;
  if (!anchor || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  if (anchor.pathname !== location.pathname) go(anchor.pathname);
});
window.addEventListener("popstate", () => show(true));
show(false);
