// Boxes over a camera's frame: around what is classified by itself, where the camera has regions.

import { svg } from "./dom.js";

/** An overlay that lies on an image as `object-fit: contain` lays that out. What it shows the page says in words, too. */
export class Boxes {
  element = svg("svg", { class: "boxes", "aria-hidden": "true" });

  /** Draw the regions of a snapshot's report; of a frame that is classified whole there are none. */
  show({ width = 1, height = 1, regions = [] }) {
    this.element.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const size = Math.max(width, height) / 36;
    this.element.replaceChildren(
      ...regions.flatMap(({ box: [x, y, wide, high], label }) => {
        const [left, top] = [x * width, y * height];
        return [
          svg("rect", { x: left, y: top, width: wide * width, height: high * height }),
          svg("text", { x: left, y: Math.max(top - size / 4, size), "font-size": size }, label),
        ];
      }),
    );
  }
}

/** Say in words what is seen: each region's label, the newest first. */
export const named = (regions) => regions.map(({ label }) => label).join(", ") || "nothing";
