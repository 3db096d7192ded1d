// One EventSource, kept open for as long as it is wanted. After any end (a refusal ends an EventSource for
// good, and its own reconnects have no jitter) a new one is opened, from the place that was reached.
import { backoff } from "./backoff.js";

const EVENTS = ["post", "comment", "post-deleted", "comment-deleted", "reset", "beat"];
const NOWHERE = "0:0";     // a place in no log: the stream begins with `reset`, which says where it is
const SILENCE = 40_000;    // milliseconds; there is a beat every 15 s
const HUSH = 20_000;       // longer than between two beats: not waited for when somebody looks
const STEADY = 10_000;     // a stream that lasted so long did not fail
const CHECK = 5_000;

export class Stream {
  isOpen = false;
  place = null;            // the id of the last event: a log and a sequence in it
  #tell;
  #isWanted = false;
  #source = null;
  #again = null;           // the timer of the next try
  #watch = null;
  #failures = 0;
  #openedAt = null;
  #heardAt = 0;

  // `tell` gets what is heard, { event, data, place }, and what becomes of the stream, { isOpen, place }.
  constructor(tell) {
    this.#tell = tell;
  }

  get state() {
    return { isOpen: this.isOpen, place: this.place };
  }

  want(isWanted) {
    if (isWanted === this.#isWanted) return;
    this.#isWanted = isWanted;
    if (isWanted) this.#connect();
    else this.#close();
  }

  // Somebody looks: try now, not at the end of a pause or of a long silence. `isOnline`: the network is back, and
  // what was connected before may lead nowhere.
  hurry(isOnline = false) {
    const isQuiet = performance.now() - this.#heardAt > HUSH;
    if (this.#isWanted && (this.#again !== null || isOnline || isQuiet)) this.#connect();
  }

  #connect() {
    this.#close();
    this.#heardAt = performance.now();
    this.#watch = setInterval(() => this.#check(), CHECK);
    const source = new EventSource(`/live?last_event_id=${encodeURIComponent(this.place ?? NOWHERE)}`);
    source.onopen = () => this.#opened();
    source.onerror = () => this.#ended();
    for (const name of EVENTS) source.addEventListener(name, (event) => this.#hear(name, event));
    this.#source = source;
  }

  #opened() {
    this.isOpen = true;
    this.#openedAt = this.#heardAt = performance.now();
    this.#tell(this.state);
  }

  #hear(name, event) {
    this.#heardAt = performance.now();
    if (name === "beat") return;
    this.place = event.lastEventId;
    this.#tell({ event: name, data: event.data, place: this.place });
  }

  #ended() {
    const lasted = this.#openedAt === null ? 0 : performance.now() - this.#openedAt;
    this.#close();
    if (lasted >= STEADY) this.#failures = 0;
    this.#again = setTimeout(() => this.#connect(), backoff(this.#failures));
    this.#failures += 1;
  }

  // A connection can die without a word: a laptop slept, a router forgot it.
  #check() {
    if (this.#source && performance.now() - this.#heardAt > SILENCE) this.#ended();
  }

  #close() {
    this.#source?.close();
    clearTimeout(this.#again);
    clearInterval(this.#watch);
    this.#source = this.#again = this.#openedAt = null;
    if (!this.isOpen) return;
    this.isOpen = false;
    this.#tell(this.state);
  }
}
