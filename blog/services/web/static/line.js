// The line from this page to the one stream of this browser. A SharedWorker holds it where there are such; else the
// tabs choose by BroadcastChannel which of them does. A hidden page is told nothing, and keeps no stream open.
import { Member } from "./member.js";

const PING = 5_000;      // milliseconds between two words of a visible page to the worker
const PATIENCE = 4_000;  // for its answer
const TRIES = 2;         // to get another worker, before it is tried without

// Connect; `hear` gets { event, data, place } and { isOpen, place }. Returns a function that ends it.
export function connect(hear) {
  const ended = new AbortController();
  let line = withWorker();

  function withWorker() {
    try {
      return new WorkerLine(hear, () => { line = new MemberLine(hear); say(); });
    } catch {
      return new MemberLine(hear);   // there are none, or they are forbidden
    }
  }
  function say(isHurried = false, isVisible = document.visibilityState === "visible", isOnline = false) {
    line.say({ isVisible, isHurried, isOnline });
  }
  function on(target, names, listener) {
    for (const name of names) target.addEventListener(name, listener, { signal: ended.signal });
  }
  on(document, ["visibilitychange", "resume"], () => say(true));
  on(window, ["pageshow"], () => say(true));
  on(window, ["online"], () => say(true, undefined, true));
  on(document, ["freeze"], () => say(false, false));
  on(window, ["pagehide"], () => say(false, false));
  say();
  return () => {
    ended.abort();
    say(false, false);
  };
}

class MemberLine {
  #member;

  constructor(hear) {
    this.#member = new Member(hear);
  }

  say({ isVisible, isHurried, isOnline }) {
    this.#member.want(isVisible);
    if (isVisible && isHurried) this.#member.hurry(isOnline);
  }
}

class WorkerLine {
  #hear;
  #giveUp;
  #port = null;
  #next = null;            // the timer of the next ping, or of the end of our patience
  #failures = 0;
  #isVisible = false;

  constructor(hear, giveUp) {
    this.#hear = hear;
    this.#giveUp = giveUp;
    this.#open();
  }

  say(message) {
    this.#isVisible = message.isVisible;
    this.#port.postMessage(message);
    clearTimeout(this.#next);
    if (message.isVisible) this.#next = setTimeout(() => this.#failed(this.#port), PATIENCE);
  }

  #open() {
    // its address has the version of all files in it: another deploy is another worker
    const worker = new SharedWorker(new URL("worker.js", import.meta.url), { type: "module", name: "blog-live" });
    worker.onerror = () => this.#failed(worker.port);
    worker.port.onmessage = ({ data }) => this.#answered(data);
    this.#port = worker.port;
  }

  #answered(message) {
    this.#failures = 0;
    clearTimeout(this.#next);
    if (this.#isVisible) this.#next = setTimeout(() => this.say({ isVisible: true }), PING);
    this.#hear(message);
  }

  // It did not start, or died: its port does not say so.
  #failed(port) {
    if (port !== this.#port) return;
    port.close();
    clearTimeout(this.#next);
    this.#failures += 1;
    if (this.#failures > TRIES) return this.#giveUp();
    this.#open();
    this.say({ isVisible: this.#isVisible, isHurried: true });
  }
}
