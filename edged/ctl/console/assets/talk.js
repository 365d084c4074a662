// The server: requests, and events that stop while nobody looks.

/** Ask for JSON. Throws an Error whose message a person can read. */
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("edgectl console does not answer: is it still running?");
  }
  let told = {};
  try {
    told = await answer.json();
  } catch {
    // An answer without JSON says it by its status alone.
  }
  if (!answer.ok) throw new Error(told.error || `the server answers ${answer.status}`);
  return told;
}

/** The address of something of a device. */
export function of(device, path) {
  return `/api/devices/${encodeURIComponent(device)}/${path}`;
}

/** Send a command to a device; resolves to its report. Throws where it fails, and says why. */
export async function command(device, name, args = {}) {
  const job = await ask(of(device, `commands/${name}`), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(args),
  });
  if (job.status !== "succeeded" && job.status !== "accepted") {
    throw new Error(`${name} ${job.status}${job.error ? `: ${job.error}` : ""}`);
  }
  return job.report ?? {};
}

/**
 * Listen to events as long as the page is visible; a page that nobody sees costs no device anything.
 * `path()` gives the address at each opening. Returns a function that ends it.
 */
export function listen(path, handlers) {
  let source = null;
  const open = () => {
    if (source !== null || document.hidden) return;
    source = new EventSource(path());
    for (const [name, take] of Object.entries(handlers)) {
      if (name === "opened") source.onopen = take;
      else if (name === "lost") source.onerror = take;
      else source.addEventListener(name, (event) => take(JSON.parse(event.data)));
    }
  };
  const close = () => {
    source?.close();
    source = null;
  };
  const look = () => (document.hidden ? close() : open());
  document.addEventListener("visibilitychange", look);
  open();
  return () => {
    document.removeEventListener("visibilitychange", look);
    close();
  };
}
