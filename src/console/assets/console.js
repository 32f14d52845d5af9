// Keys, and what follows from one task to the next. Everything that is decided is a form of the page: a key presses its button.
"use strict";
(() => {
  const pane = () => document.getElementById("task");
  // Those at which somebody else works are passed over.
  const links = () => [...document.querySelectorAll("#tasks a[data-task]:not([data-claimed])")];
  const isTyping = (element) => element.matches("input:not([type=radio]):not([type=checkbox]), textarea, select");
  // At the task, not in the list: also while one task takes the place of another and nothing has the focus.
  let isWorking = false;

  const place = () => links().findIndex((link) => link.dataset.task === pane()?.dataset.task);

  const mark = () => {
    const open = pane()?.dataset.task;
    for (const link of links()) {
      if (link.dataset.task === open) {
        link.setAttribute("aria-current", "true");
        link.scrollIntoView({ block: "nearest" });
      } else {
        link.removeAttribute("aria-current");
      }
    }
  };

  const neighbour = (step) => {
    const all = links();
    const at = place();
    return at < 0 ? all[0] : all[at + step];
  };

  const go = (step) => {
    const link = neighbour(step);
    if (link) {
      if (!isWorking) link.focus();
      link.click();
    }
  };

  const press = (key) => {
    const button = document.querySelector(`[data-key~="${key}"]`);
    button?.click();
    return Boolean(button);
  };

  const help = () => document.getElementById("keys")?.showModal();

  // Nothing is decided before it is shown what it would do, nor by a form that htmx has not yet taken over.
  const isShown = () => !pane().classList.contains("htmx-added") && (pane().matches("[data-blind]") || pane().querySelectorAll(".preview > *").length >= 2);

  const decide = (key) => {
    if (isShown() || (key === "s" && pane().querySelector("[data-skip]"))) press(key);
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const { key, target } = event;
    // In a note Enter would press the first button of its form.
    if (key === "Enter" && target.matches("input[name=note]")) return event.preventDefault();
    if (key === "Escape") return (links()[place()] ?? document.activeElement)?.focus();
    if (isTyping(target)) return;
    if (key === "?") help();
    else if (key === "/") location.assign("/console/search");
    else if (key === "u") {
      if (!event.repeat && !press("u")) htmx.ajax("POST", "/console/undo", { target: "#notice", swap: "innerHTML" });
    } else if (!pane()) return;
    else if (key === "j") go(1);
    else if (key === "k" && !isWorking) go(-1);
    else if (key === "Enter") {
      const link = target.closest("a[data-task]");
      if (link && link.dataset.task !== pane().dataset.task) {
        isWorking = true;
        return;
      }
      if (target.matches("button, input, summary, a:not([data-task])")) return;
      pane().focus();
    } else if ("mdks".includes(key) && isWorking) {
      if (!event.repeat) decide(key);
    } else return;
    event.preventDefault();
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-help]")) help();
    if (event.target.closest("[data-skip]")) go(1);
  });

  // The task after the one that is decided, as the list shows it.
  document.addEventListener("htmx:configRequest", (event) => {
    if (!event.target.matches("form.decision")) return;
    const next = neighbour(1) ?? neighbour(-1);
    event.detail.parameters.set("next", next && next !== links()[place()] ? next.dataset.task : "");
  });

  document.addEventListener("focusin", (event) => {
    isWorking = pane()?.contains(event.target) ?? false;
  });

  document.addEventListener("htmx:afterSettle", (event) => {
    mark();
    if (event.detail.elt?.id === "task" && isWorking && !pane().contains(document.activeElement)) pane().focus();
  });
})();
