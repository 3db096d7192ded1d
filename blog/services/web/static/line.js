// The connection from this page to the one stream of this browser. A SharedWorker holds the stream if there are such;
// else the tabs elect by BroadcastChannel which of them does. A hidden page gets no messages, and keeps no stream open.
import { Member } from "./member.js";

const PING = 5_000;        // milliseconds between two messages of a visible page to the worker
const TIMEOUT = 4_000;     // for its reply
const MAX_FAILURES = 2;    // of workers in a row, before it is done without one

// Connect; `onMessage` gets { event, data, place } and { isOpen, place }. Returns a function that ends it.
export function connect(onMessage) {
  const ended = new AbortController();
  let connection = withWorker();

  function withWorker() {
    try {
      return new WorkerConnection(onMessage, () => { connection = new LocalConnection(onMessage); send(); });
    } catch {
      return new LocalConnection(onMessage);   // there are none, or they are forbidden
    }
  }
  function send(isHurried = false, isVisible = document.visibilityState === "visible", isOnline = false) {
    connection.send({ isVisible, isHurried, isOnline });
  }
  function on(target, names, listener) {
    for (const name of names) target.addEventListener(name, listener, { signal: ended.signal });
  }
  on(document, ["visibilitychange", "resume"], () => send(true));
  on(window, ["pageshow"], () => send(true));
  on(window, ["online"], () => send(true, undefined, true));
  on(document, ["freeze"], () => send(false, false));
  on(window, ["pagehide"], () => send(false, false));
  send();
  return () => {
    ended.abort();
    send(false, false);
  };
}

class LocalConnection {
  #member;

  constructor(onMessage) {
    this.#member = new Member(onMessage);
  }

  send({ isVisible, isHurried, isOnline }) {
    this.#member.want(isVisible);
    if (isVisible && isHurried) this.#member.hurry(isOnline);
  }
}

class WorkerConnection {
  #onMessage;
  #giveUp;
  #port = null;
  #next = null;            // the timer of the next ping, or of the timeout
  #failures = 0;
  #isVisible = false;

  constructor(onMessage, giveUp) {
    this.#onMessage = onMessage;
    this.#giveUp = giveUp;
    this.#open();
  }

  send(message) {
    this.#isVisible = message.isVisible;
    this.#port.postMessage(message);
    clearTimeout(this.#next);
    if (message.isVisible) this.#next = setTimeout(() => this.#failed(this.#port), TIMEOUT);
  }

  #open() {
    // its address has the version of all files in it: another deploy is another worker
    const worker = new SharedWorker(new URL("worker.js", import.meta.url), { type: "module", name: "blog-live" });
    worker.onerror = () => this.#failed(worker.port);
    worker.port.onmessage = ({ data }) => this.#received(data);
    this.#port = worker.port;
  }

  #received(message) {
    this.#failures = 0;
    clearTimeout(this.#next);
    if (this.#isVisible) this.#next = setTimeout(() => this.send({ isVisible: true }), PING);
    this.#onMessage(message);
  }

  // It did not start, or died: its port does not tell.
  #failed(port) {
    if (port !== this.#port) return;
    port.close();
    clearTimeout(this.#next);
    this.#failures += 1;
    if (this.#failures > MAX_FAILURES) return this.#giveUp();
    this.#open();
    this.send({ isVisible: this.#isVisible, isHurried: true });
  }
}
