// Keeps the open page true: asks every five seconds whether it changed and swaps <main> when it did.
"use strict";
(() => {
  const EVERY = 5000;
  const main = document.getElementById("main");
  const live = document.querySelector("[data-live]");
  let etag = null;
  let shown = main.innerHTML;
  let timer = 0;

  function age(since) {
    const seconds = (Date.now() - Date.parse(since)) / 1000;
    if (!(seconds >= 0)) return "";
    if (seconds < 45) return "just now";
    for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
      const count = Math.round(seconds / size);
      if (seconds >= size * 0.95 || unit === "minute") return `${Math.max(count, 1)} ${unit}${count > 1 ? "s" : ""} ago`;
    }
  }

  function ages() {
    for (const span of main.querySelectorAll("[data-since]")) {
      const words = age(span.dataset.since);
      if (words) span.textContent = words;
    }
  }

  // Someone is typing or choosing: their words matter more than news.
  function isBusy() {
    const dirty = (field) => field.type === "hidden" ? false
      : field.options ? [...field.options].some((option) => option.selected !== option.defaultSelected && option.index)
      : field.value !== field.defaultValue;
    return main.querySelector(":is(input, select):focus") || [...main.querySelectorAll("input, select")].some(dirty)
      || !getSelection().isCollapsed;
  }

  function swap(text) {
    const found = new DOMParser().parseFromString(text, "text/html");
    const attention = document.querySelector("[data-attention]"), now = found.querySelector("[data-attention]");
    if (attention && now && attention.innerHTML !== now.innerHTML) attention.replaceChildren(...now.childNodes);
    const next = found.getElementById("main");
    if (!next || next.innerHTML === shown) return;
    shown = next.innerHTML;
    const boxes = "[tabindex='0']";
    const scrolled = [...main.querySelectorAll(boxes)].map((box) => box.scrollLeft);
    const focusable = "a, button, summary, [tabindex='0']";
    const focused = main.contains(document.activeElement) ? document.activeElement.outerHTML : null;
    const top = scrollY;
    for (const details of main.querySelectorAll("details[id][open]")) found.getElementById(details.id)?.setAttribute("open", "");
    main.replaceChildren(...next.childNodes);
    main.querySelectorAll(boxes).forEach((box, index) => { box.scrollLeft = scrolled[index] || 0; });
    ages();
    scrollTo(scrollX, top);
    if (focused) [...main.querySelectorAll(focusable)].find((one) => one.outerHTML === focused)?.focus({ preventScroll: true });
    document.title = found.title;
  }

  function tell(state, words) {
    live.className = `live is-${state}`;
    if (live.textContent !== words) live.textContent = words;
  }

  async function look() {
    try {
      const headers = etag ? { "If-None-Match": etag } : {};
      const answer = await fetch(location.href, { headers, cache: "no-store", redirect: "error" });
      if (answer.status === 200) {
        const text = await answer.text();
        if (!isBusy()) {
          swap(text);
          etag = answer.headers.get("ETag");
        }
      }
      tell(answer.status < 500 ? "on" : "off", answer.status < 500 ? "Live" : "Not updating");
    } catch {
      tell("off", "No connection");
    }
    ages();
    plan();
  }

  function plan() {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(look, EVERY);
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden) look();
  });
  ages();
  tell("on", "Live");
  plan();
})();
