// What is nicer with JavaScript: the page is as new as the blog, and a form says that it is being sent.
// Everything that is shown is made by the server: new parts are taken from a fresh copy of this page.
"use strict";

const parts = [...document.querySelectorAll("[data-live]")];
const post = parts[0]?.dataset.post;   // on the page of one post: its id
const news = document.getElementById("news");

function listen() {
  const source = new EventSource("/live");
  let wanted = 0;      // the sequence that the page should have
  let shown = 0;       // the one that it has
  let busy = false;

  async function refresh() {
    if (busy) return;
    busy = true;
    try {
      while (shown < wanted) {
        const goal = wanted;
        await show(goal);
        shown = goal;
        // however much happens, a reader asks at most about once a second
        await new Promise((resolve) => setTimeout(resolve, 500 + 1000 * Math.random()));
      }
    } catch (error) {
      // the next event, or the next connection, tries again
    } finally {
      busy = false;
    }
  }

  const sequence = (event) => Number(event.lastEventId.split(":").at(-1));

  for (const type of new Set(parts.flatMap((part) => part.dataset.live.split(" ")))) {
    source.addEventListener(type, (event) => {
      const { id, post_id } = JSON.parse(event.data);
      if (post && (post_id ?? id) !== post) return;
      if (post && type === "post-deleted") {
        source.close();
        tell("This post was deleted.");
        return;
      }
      wanted = Math.max(wanted, sequence(event));
      refresh();
    });
  }
  // too much was missed to be told of, or it is another log with other numbers
  source.addEventListener("reset", (event) => {
    wanted = sequence(event);
    shown = wanted - 1;
    refresh();
  });
  source.addEventListener("open", () => {
    for (const part of parts) part.dataset.connected = "";
  });
  // what came before we listened; what comes while we are cut off is sent when we are back
  source.addEventListener("open", () => show(null).catch(() => {}), { once: true });
}

async function show(after) {
  const url = new URL(location.href);
  url.hash = "";
  if (after !== null) url.searchParams.set("after", after);
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(answer.statusText);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of parts) replace(part, fresh.getElementById(part.id));
}

function replace(part, copy) {
  if (!copy || copy.innerHTML === part.innerHTML) return;
  const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  part.replaceChildren(...copy.childNodes);
  if (focused) part.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  tell(part.dataset.said);
  setTimeout(() => { if (news.textContent === part.dataset.said) news.textContent = ""; }, 4000);
}

function tell(text) {
  news.textContent = text;
}

for (const form of document.querySelectorAll("form[data-busy]")) {
  form.addEventListener("submit", (event) => {
    const button = form.querySelector("button");
    if (button.hasAttribute("aria-disabled")) return event.preventDefault();
    button.setAttribute("aria-disabled", "true");
    button.dataset.label = button.textContent;
    button.textContent = form.dataset.busy;
  });
}
// back from the next page: the form can be sent again
addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("button[aria-disabled]")) {
    button.removeAttribute("aria-disabled");
    button.textContent = button.dataset.label;
  }
});

if (parts.length) listen();
