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
  const source = new EventSource("/events?page=" + encodeURIComponent(page));
  source.onopen = () => { state.hidden = false; };
  source.onerror = () => { state.hidden = true; };
  source.onmessage = (message) => {
    const parts = JSON.parse(message.data);
    parts.forEach(([id, html]) => replace(id, html));
  };
  addEventListener("pagehide", () => source.close());
})();
