// The SharedWorker: one for all tabs of this browser. It wants the stream while some tab is visible. A port does
// not say when its tab dies, so a visible tab says every few seconds that it is there.
import { Member } from "./member.js";

const LEASE = 15_000;    // milliseconds that a tab counts as visible after it said so
const GRACE = 1_000;     // from one tab to the next, or from page to page, the stream stays open
const SWEEP = 250;

const leases = new Map();   // of each visible tab's port: until when
let sweeping = null;

const member = new Member((message) => {
  for (const port of leases.keys()) port.postMessage(message);
});

function hear(port, { isVisible, isHurried, isOnline }) {
  if (!isVisible && !leases.has(port)) return;
  leases.set(port, performance.now() + (isVisible ? LEASE : GRACE));
  sweeping ??= setInterval(sweep, SWEEP);
  if (!isVisible) return;
  member.want(true);
  if (isHurried) member.hurry(isOnline);
  port.postMessage(member.state);
}

function sweep() {
  const now = performance.now();
  for (const [port, until] of leases) if (until <= now) leases.delete(port);
  if (leases.size) return;
  member.want(false);
  clearInterval(sweeping);
  sweeping = null;
}

addEventListener("connect", ({ ports: [port] }) => {
  port.onmessage = ({ data }) => hear(port, data);
});
