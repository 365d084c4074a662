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
  if (answer.status === 401) throw new Error("edgectl console asks for its token: open the address that it printed");
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

const AGAIN_MS = 3000;
const WHY = { 401: "token", 404: "unknown" };

/** Why an address gives no events, which EventSource does not tell. */
async function reason(path) {
  const stop = new AbortController();
  try {
    return WHY[(await fetch(path, { signal: stop.signal })).status] ?? "server";
  } catch {
    return "server";
  } finally {
    stop.abort();
  }
}

/**
 * Listen to events as long as the page is visible; a page that nobody sees costs no device anything.
 * `path()` gives the address at each opening. `lost` is told why none come: "server" (it does not answer), "token" (it asks
 * for one) or "unknown" (there is no such thing); it is tried again. Returns a function that ends it.
 */
export function listen(path, handlers) {
  let source = null;
  let again = 0;
  const open = () => {
    if (source !== null || document.hidden) return;
    clearTimeout(again);
    source = new EventSource(path());
    for (const [name, take] of Object.entries(handlers)) {
      if (name === "opened") source.onopen = take;
      else if (name === "lost") source.onerror = () => lost(take);
      else source.addEventListener(name, (event) => take(JSON.parse(event.data)));
    }
  };
  // What broke off a browser tries again by itself; what was refused it does not.
  const lost = async (take) => {
    const asked = source;
    const why = asked?.readyState === EventSource.CLOSED ? await reason(path()) : "server";
    if (source !== asked || asked === null) return;
    take(why);
    if (asked.readyState !== EventSource.CLOSED) return;
    close();
    again = setTimeout(open, AGAIN_MS);
  };
  const close = () => {
    clearTimeout(again);
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
