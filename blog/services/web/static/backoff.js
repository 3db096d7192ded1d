// How long to wait before trying again. Full jitter: what failed for many at once does not come back at once.
const FIRST = 1_000;
const MOST = 10_000;
const GROWTH = 1.5;

// Milliseconds, after so many failures in a row before this one; `chance` is in [0, 1).
export function backoff(failures, chance = Math.random()) {
  return chance * Math.min(MOST, FIRST * GROWTH ** failures);
}
