// How new the page is, and how it becomes newer: one copy is asked for at a time, as of the last place that was
// heard of, and again for as long as something newer is known than what is shown.
import { backoff } from "./backoff.js";

export class Freshness {
  #take;
  #isLooked;
  #place = null;      // the last that was heard of
  #after = null;      // the place of which a copy has to know
  #wanted = 0;        // counts what was heard of that is newer than the page
  #shown = 0;         // how much of that the page shows
  #failures = 0;
  #isBusy = false;
  #wake = null;       // ends a pause after a failure

  // `take(sequence)` shows a copy that has `sequence`, or throws; `isLooked()` says whether anybody looks.
  constructor(take, isLooked) {
    this.#take = take;
    this.#isLooked = isLooked;
  }

  // Something happened, of this page or not.
  hear(place, isOurs) {
    this.#place = place;
    if (isOurs) this.#want(place);
  }

  // The stream is at this place: if we have not heard of it, we have missed something.
  compare(place) {
    if (place !== null && place !== this.#place) this.hear(place, true);
  }

  // Nobody has to look any more.
  stop() {
    this.#isLooked = () => false;
  }

  // Somebody looks again, or the network is back.
  hurry() {
    this.#failures = 0;
    this.#wake?.();
    this.#refresh();
  }

  #want(place) {
    this.#after = place;
    this.#wanted += 1;
    this.#refresh();
  }

  async #refresh() {
    if (this.#isBusy) return;
    this.#isBusy = true;
    while (this.#shown < this.#wanted && this.#isLooked()) await this.#pause(await this.#try());
    this.#isBusy = false;
  }

  // Ask for one copy; return how long to wait before the next one.
  async #try() {
    const goal = this.#wanted;
    try {
      await this.#take(sequence(this.#after));
    } catch {
      return { milliseconds: backoff(this.#failures++), canWake: true };
    }
    this.#shown = Math.max(this.#shown, goal);
    this.#failures = 0;
    // however much happens, a reader asks at most about once a second
    return { milliseconds: 500 + 1000 * Math.random(), canWake: false };
  }

  #pause({ milliseconds, canWake }) {
    return new Promise((resolve) => {
      setTimeout(resolve, milliseconds);
      this.#wake = canWake ? resolve : null;
    });
  }
}

// A place is a log and a sequence in it.
function sequence(place) {
  return Number(place.split(":").at(-1));
}
