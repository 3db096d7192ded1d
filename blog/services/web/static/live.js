// What is nicer with JavaScript: the page is as new as the blog, and a form says that it is being sent.
// Everything that is shown is made by the server: new parts are taken from a fresh copy of this page.
import { fetchPage } from "./copy.js";
import { watchForms } from "./forms.js";
import { Freshness } from "./freshness.js";
import { connect } from "./line.js";
import { patch } from "./patch.js";

const parts = [...document.querySelectorAll("[data-live]")];
const kinds = new Set(parts.flatMap((part) => part.dataset.live.split(" ")));
const post = parts[0]?.dataset.post;   // on the page of one post: its id
const news = document.getElementById("news");
const freshness = new Freshness(show, () => document.visibilityState === "visible");
let disconnect = () => {};

function listen() {
  disconnect = connect(hear);
  document.addEventListener("visibilitychange", () => freshness.hurry());
  addEventListener("online", () => freshness.hurry());
}

function hear({ event, data, place, isOpen }) {
  if (event === undefined) {
    for (const part of parts) part.toggleAttribute("data-connected", isOpen);
    freshness.compare(place);
  } else if (event === "reset") {
    freshness.hear(place, true);   // too much was missed to be told of, or it is another log with other numbers
  } else {
    const isOurs = kinds.has(event) && isOfThisPage(JSON.parse(data));
    if (isOurs && post && event === "post-deleted") finish();
    else freshness.hear(place, isOurs);
  }
}

function isOfThisPage({ id, post_id }) {
  return !post || (post_id ?? id) === post;
}

async function show(sequence) {
  const copy = await fetchPage(sequence);
  if (copy) parts.forEach((part) => replace(part, copy.getElementById(part.id)));
  else if (post) finish();
}

function replace(part, copy) {
  if (!copy || copy.innerHTML === part.innerHTML) return;
  patch(part, copy);
  tell(part.dataset.said);
  setTimeout(() => { if (news.textContent === part.dataset.said) tell(""); }, 4000);
}

function finish() {
  disconnect();
  freshness.stop();
  tell("This post was deleted.");
}

function tell(text) {
  news.textContent = text;
}

watchForms();
if (parts.length) listen();
