// A fresh copy of this page, of which it is known that it is not too old.
const PATIENCE = 20_000;   // milliseconds for a whole answer: a dead connection does not say that it is dead
const OK = 200;            // not 202: what is asked for is still on its way
const GONE = [404, 410];

// Return a document that knows of `sequence`; null if there is no such page any more. Throws if there is none now,
// or one that is too old: ask again.
export async function fetchCopy(sequence) {
  const url = new URL(location.href);
  url.hash = "";
  url.searchParams.set("after", sequence);
  const { status, text } = await fetchText(url);
  if (GONE.includes(status)) return null;
  if (status !== OK) throw new Error(`${status}`);
  const copy = new DOMParser().parseFromString(text, "text/html");
  if (copy.querySelector("[data-stale]")) throw new Error("stale");
  return copy;
}

async function fetchText(url) {
  const aborted = new AbortController();
  const timer = setTimeout(() => aborted.abort(), PATIENCE);
  try {
    const answer = await fetch(url, { signal: aborted.signal });
    return { status: answer.status, text: await answer.text() };
  } finally {
    clearTimeout(timer);
  }
}
