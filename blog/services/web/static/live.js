// What is nicer with JavaScript: the page is as new as the blog, and a form says that it is being sent.
// Everything that is shown is made by the server: new parts are taken from a fresh copy of this page.
"use strict";

const part = document.querySelector("[data-live]");
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

  for (const type of part.dataset.live.split(" ")) {
    source.addEventListener(type, (event) => {
      const id = part.dataset.post;
      if (id && JSON.parse(event.data).post_id !== id) return;
      wanted = Math.max(wanted, Number(event.lastEventId));
      refresh();
    });
  }
  source.addEventListener("open", () => {
    part.dataset.connected = "";
    show(null).catch(() => {});  // what came before we listened, or while we were cut off
  });
}

async function show(after) {
  const url = new URL(location.href);
  url.hash = "";
  if (after !== null) url.searchParams.set("after", after);
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(answer.statusText);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const copy = fresh.getElementById(part.id);
  if (!copy || copy.innerHTML === part.innerHTML) return;
  const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  part.replaceChildren(...copy.childNodes);
  if (focused) part.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  news.textContent = part.dataset.post ? "The comments have changed." : "The posts have changed.";
  setTimeout(() => { news.textContent = ""; }, 4000);
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

if (part) listen();
