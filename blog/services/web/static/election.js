// Which of several holds the stream: decisions only. The time and the messages of the others come in, messages to
// them go out. Only one that wants the stream is a candidate; a leader that is silent is gone, and is replaced.
export const BEAT = 1_000;       // milliseconds between two messages of a leader
export const SILENCE = 3_000;    // a leader that sends nothing for so long is gone
export const SPREAD = 100;       // not all become candidates at the same time

export class Election {
  role = "idle";                 // idle, candidate, follower, leader
  due = Infinity;                // when to call `tick`
  #id;
  #leader = null;
  #random;

  constructor(id, random = Math.random) {
    this.#id = id;
    this.#random = random;
  }

  // Want the stream: an existing leader has time to answer.
  stand(now) {
    if (this.role !== "idle") return [];
    this.#become("candidate", now + SPREAD * (1 + this.#random()));
    return [{ ask: this.#id }];
  }

  withdraw() {
    const wasLeading = this.role === "leader";
    this.#become("idle", Infinity);
    return wasLeading ? [{ bye: this.#id }] : [];
  }

  receive({ ask, lead, bye }, now) {
    if (this.role === "idle") return [];
    if (lead) return this.#receiveLeader(lead, now);
    if (ask && this.role === "leader") return [{ lead: this.#id }];
    if (bye && bye === this.#leader) this.#become("candidate", now + SPREAD * this.#random());
    return [];
  }

  tick(now) {
    if (now < this.due) return [];
    this.#leader = null;
    this.#become("leader", now + BEAT);
    return [{ lead: this.#id }];
  }

  // Of two leaders, the one with the smaller id stays.
  #receiveLeader(other, now) {
    if (this.role === "leader" && this.#id < other) return [{ lead: this.#id }];
    this.#leader = other;
    this.#become("follower", now + SILENCE + SPREAD * this.#random());
    return [];
  }

  #become(role, due) {
    this.role = role;
    this.due = due;
  }
}
