// Which of several holds the stream. Nothing but decisions: the time and what others said come in, what to say to
// the others goes out. Only one that wants the stream stands; a leader that is gone is silent, and is replaced.
export const BEAT = 1_000;       // milliseconds between two words of a leader
export const SILENCE = 3_000;    // a leader that says nothing for so long is gone
export const SPREAD = 100;       // not everybody stands up at the same time

export class Election {
  role = "away";                 // away, standing, following, leading
  due = Infinity;                // when to call `tick`
  #id;
  #leader = null;
  #random;

  constructor(id, random = Math.random) {
    this.#id = id;
    this.#random = random;
  }

  // Want the stream: a leader that there is already has time to say so.
  stand(now) {
    if (this.role !== "away") return [];
    this.#become("standing", now + SPREAD * (1 + this.#random()));
    return [{ ask: this.#id }];
  }

  withdraw() {
    const wasLeading = this.role === "leading";
    this.#become("away", Infinity);
    return wasLeading ? [{ bye: this.#id }] : [];
  }

  hear({ ask, lead, bye }, now) {
    if (this.role === "away") return [];
    if (lead) return this.#hearLeader(lead, now);
    if (ask && this.role === "leading") return [{ lead: this.#id }];
    if (bye && bye === this.#leader) this.#become("standing", now + SPREAD * this.#random());
    return [];
  }

  tick(now) {
    if (now < this.due) return [];
    this.#leader = null;
    this.#become("leading", now + BEAT);
    return [{ lead: this.#id }];
  }

  // Of two leaders, the one with the smaller id stays.
  #hearLeader(other, now) {
    if (this.role === "leading" && this.#id < other) return [{ lead: this.#id }];
    this.#leader = other;
    this.#become("following", now + SILENCE + SPREAD * this.#random());
    return [];
  }

  #become(role, due) {
    this.role = role;
    this.due = due;
  }
}
