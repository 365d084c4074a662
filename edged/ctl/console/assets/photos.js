// A device's photos as tiles: each is fetched through the broker when it comes near the screen, a few at a time.

import { h } from "./dom.js";
import { of } from "./talk.js";

const AT_ONCE = 4;

export class Photos {
  #device;
  #waiting = [];
  #running = 0;
  #observer = new IntersectionObserver((changes) => {
    for (const change of changes) {
      if (!change.isIntersecting) continue;
      this.#observer.unobserve(change.target);
      this.#waiting.push(change.target);
    }
    this.#next();
  }, { rootMargin: "300px 0px" });

  constructor(device) {
    this.#device = device;
  }

  /** An image that loads when it is needed. What it shows is said by what stands beside it. */
  image(id) {
    const img = h("img", { alt: "", "data-id": id, draggable: "false" });
    this.#observer.observe(img);
    return img;
  }

  end() {
    this.#observer.disconnect();
    this.#waiting = [];
  }

  // The broker or the device may have been away for a moment.
  #again(img) {
    img.classList.add("missing");
    const tries = Number(img.dataset.tries ?? 0) + 1;
    img.dataset.tries = tries;
    if (tries > 3) return;
    setTimeout(() => {
      img.removeAttribute("src");
      img.classList.remove("missing");
      this.#waiting.push(img);
      this.#next();
    }, 3000 * tries);
  }

  #next() {
    while (this.#running < AT_ONCE && this.#waiting.length) {
      const img = this.#waiting.shift();
      if (!img.isConnected) continue;
      this.#running += 1;
      img.src = of(this.#device, `images/${img.dataset.id}`);
      img.decode().catch(() => this.#again(img)).finally(() => {
        this.#running -= 1;
        this.#next();
      });
    }
  }
}
