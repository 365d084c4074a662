// Photos from this workstation: a folder per label, dropped on the page or chosen.

import { h, setText, toast } from "./dom.js";
import { counted, count } from "./format.js";
import { ask, of } from "./talk.js";

const AT_ONCE = 3;
const PHOTO = /\.(jpe?g|png|bmp|webp)$/i;

/** Where folders are dropped. `done()` is called when photos have arrived. */
export function dropZone(device, done) {
  const input = h("input", { type: "file", multiple: true, webkitdirectory: true, hidden: true, onchange: () => take([...input.files].map((file) => [file.webkitRelativePath || file.name, file])) });
  const text = h("p", {}, "Drop a folder of photos: its subfolders are the labels.");
  const fill = h("span", { class: "fill" });
  const meter = h("span", { class: "meter", hidden: true }, fill);
  const button = h("button", { type: "button", class: "small", onclick: () => input.click() }, "Choose a folder");
  const element = h("section", { class: "card drop", "aria-label": "Upload" }, text, meter, button, input);
  let busy = false;

  const over = (event) => {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    element.classList.add("over");
  };
  const leave = (event) => {
    if (event.relatedTarget === null) element.classList.remove("over");
  };
  const drop = async (event) => {
    if (!event.dataTransfer?.items.length) return;
    event.preventDefault();
    element.classList.remove("over");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = [];
    for (const entry of entries) await gather(entry, files);
    take(files);
  };

  async function gather(entry, files) {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      files.push([entry.fullPath.slice(1), file]);
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return;
      for (const one of some) await gather(one, files);
    }
  }

  async function take(files) {
    if (busy) return;
    const waiting = files.filter(([path]) => PHOTO.test(path)).map(([path, file]) => [path.split("/").at(-2), file]);
    if (!waiting.length || waiting.some(([label]) => !label)) {
      toast(waiting.length ? "Drop folders: the name of a photo's folder is its label." : "There is no photo in it.", { bad: true });
      return;
    }
    busy = true;
    button.disabled = true;
    meter.hidden = false;
    const all = waiting.length;
    let sent = 0;
    const faults = [];
    const work = async () => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        const [label, file] = next;
        try {
          await ask(of(device, `photos?${new URLSearchParams({ label })}`), { method: "POST", body: file });
        } catch (error) {
          faults.push(`${file.name}: ${error.message}`);
        }
        sent += 1;
        fill.style.width = `${(100 * sent) / all}%`;
        setText(text, `${count(sent)} of ${counted(all, "photo")} sent`);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    busy = false;
    button.disabled = false;
    meter.hidden = true;
    input.value = "";
    setText(text, "Drop a folder of photos: its subfolders are the labels.");
    if (faults.length) toast(`${counted(faults.length, "photo")} not taken. ${faults[0]}`, { bad: true });
    else toast(`${counted(all, "photo")} sent`);
    done();
  }

  document.addEventListener("dragover", over);
  document.addEventListener("dragleave", leave);
  document.addEventListener("drop", drop);
  return {
    element,
    end: () => {
      document.removeEventListener("dragover", over);
      document.removeEventListener("dragleave", leave);
      document.removeEventListener("drop", drop);
    },
  };
}
