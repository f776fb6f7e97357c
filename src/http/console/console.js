// Keeps the parts of a page up to date. The page reads without it.
"use strict";
(() => {
  const page = document.body.dataset.live;
  if (!page || !window.EventSource) return;
  const state = document.getElementById("live-state");
  const replace = (id, html) => {
    let part = document.getElementById(id);
    if (!part) {
      const parts = document.querySelector(".parts");
      if (!parts) return;
      part = document.createElement("div");
      part.className = "part";
      part.id = id;
      parts.prepend(part);
    }
    const open = [...part.querySelectorAll("details")].map((details) => details.open);
    const links = () => [...part.querySelectorAll("a, button, summary, [tabindex]")];
    const focused = links().indexOf(document.activeElement);
    const template = document.createElement("template");
    template.innerHTML = html;
    part.replaceChildren(template.content);
    part.querySelectorAll("details").forEach((details, place) => { details.open = Boolean(open[place]); });
    if (focused >= 0) links()[focused]?.focus();
  };
  // A page that nobody looks at asks for nothing: a worker that exits when idle would be woken again.
  let source = null;
  const follow = () => {
    if (document.hidden || source) return;
    source = new EventSource("/events?page=" + encodeURIComponent(page));
    source.onopen = () => { state.hidden = false; };
    source.onerror = () => { state.hidden = true; };
    source.onmessage = (message) => {
      JSON.parse(message.data).forEach(([id, html]) => replace(id, html));
    };
  };
  const leave = () => {
    source?.close();
    source = null;
    state.hidden = true;
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? leave() : follow()));
  addEventListener("pagehide", leave);
  addEventListener("pageshow", follow);
  follow();
})();
