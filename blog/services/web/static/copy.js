// A fresh copy of this page, which is certain not to be too old.
const TIMEOUT = 20_000;    // milliseconds for a whole response: nothing tells that a connection is dead
const OK = 200;            // not 202: the view has not caught up yet
const GONE = [404, 410];

// Return a document that includes `sequence`; null if the page no longer exists. Throws if it cannot be loaded now,
// or is too old: try again.
export async function fetchPage(sequence) {
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
  const timer = setTimeout(() => aborted.abort(), TIMEOUT);
  try {
    const response = await fetch(url, { signal: aborted.signal });
    return { status: response.status, text: await response.text() };
  } finally {
    clearTimeout(timer);
  }
}
