// Numbers and times for people. What is not known is an en dash.

export const UNKNOWN = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const known = (value) => typeof value === "number" && Number.isFinite(value);

export const count = (value) => (known(value) ? whole.format(value) : UNKNOWN);
export const percent = (value, digits = 0) => (known(value) ? `${(100 * value).toFixed(digits)}\u00a0%` : UNKNOWN);
export const rate = (value) => (!known(value) ? UNKNOWN : value >= 100 ? whole.format(value) : value.toFixed(1));
export const milliseconds = (value) => (!known(value) ? UNKNOWN : value >= 100 ? whole.format(value) : value.toFixed(1));
export const degrees = (value) => (known(value) ? value.toFixed(0) : UNKNOWN);
export const watts = (milliwatts) => (known(milliwatts) ? (milliwatts / 1000).toFixed(1) : UNKNOWN);

/** The time of day of a RFC 3339 text or of seconds since the epoch. */
export function timeOfDay(when) {
  const moment = new Date(typeof when === "number" ? when * 1000 : when);
  return Number.isNaN(moment.getTime()) ? UNKNOWN : clock.format(moment);
}

/** How long ago, roughly. */
export function ago(when) {
  const seconds = (Date.now() - new Date(when).getTime()) / 1000;
  if (!Number.isFinite(seconds)) return UNKNOWN;
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

/** "1 device", "2 devices". */
export const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
