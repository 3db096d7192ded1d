// A form says that it is being sent, and is sent once.
export function watchForms() {
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
}
