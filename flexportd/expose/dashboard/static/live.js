// Keeps the open page up to date: polls every five seconds and updates what differs in place.
// Whatever the reader points at, has focused, selected or edited stays in place; updates that would move it wait.
"use strict";
(() => {
  const EVERY = 5000; // milliseconds between two requests
  const TIMEOUT = 10000; // for one response
  const MAX_WAIT = 60000; // between two failing requests
  const PAUSE = 300; // from the pointer or focus leaving an element until waiting updates are shown
  const IDLE = 120000; // without input: nobody is reading, so updates no longer wait
  const address = location.href;
  const main = document.getElementById("main"), header = document.querySelector("header");
  const live = document.querySelector("[data-live]");

  // --- relative times ---

  // The current time of the daemon: in a demo it runs faster from the start of its world.
  const simulated = document.querySelector("[data-clock-started]");
  function now() {
    if (!simulated) return Date.now();
    const started = Date.parse(simulated.dataset.clockStarted);
    return started + (Date.now() - started) * Number(simulated.dataset.clockSpeed);
  }

  function age(since) {
    const seconds = (now() - Date.parse(since)) / 1000;
    if (!(seconds >= 0)) return "";
    if (seconds < 45) return "just now";
    for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
      const count = Math.round(seconds / size);
      if (seconds >= size * 0.95 || unit === "minute") return `${Math.max(count, 1)} ${unit}${count > 1 ? "s" : ""} ago`;
    }
  }

  function showAges(root) {
    for (const span of root.querySelectorAll("[data-since]")) {
      const words = age(span.dataset.since);
      if (words && span.textContent !== words) span.textContent = words;
    }
  }

  showAges(main);
  if (!live) return; // an error page

  // --- updating the page in place ---

  const CONTROLS = "a, button, input, select, textarea, summary";
  const ROWS = "tr, li, details";

  // The identity of a row: its id, one inside it, or the target of its first link or form.
  function rowName(row) {
    const head = row.querySelector("th[scope=row]") || row;
    const named = row.querySelector("[id]"), link = head.querySelector("a[href]:not([href^='#'])");
    const form = row.querySelector("form[action]");
    if (named) return named.id;
    if (link) return link.getAttribute("href");
    if (form) return form.getAttribute("action");
    return [...head.childNodes].map((node) => node.classList?.contains("minor") ? "" : node.textContent.trim()).join(" ").slice(0, 200);
  }

  function nameOf(node) {
    if (node.nodeType !== Node.ELEMENT_NODE) return node.nodeName;
    const own = node.id || node.dataset.key || node.getAttribute("aria-labelledby") || node.getAttribute("aria-label");
    return `${node.nodeName} ${own || (node.matches("tr, li") ? rowName(node) : "")}`;
  }

  // The children by unique names.
  function children(parent) {
    const found = new Map(), seen = new Map();
    for (const node of parent.childNodes) {
      const name = nameOf(node), count = (seen.get(name) || 0) + 1;
      seen.set(name, count);
      found.set(`${name} ${count}`, node);
    }
    return found;
  }

  // Open details and edited or chosen values belong to the reader.
  function keeps(element, attribute) {
    return (attribute === "open" && element.nodeName === "DETAILS")
      || (/^(value|checked|selected)$/.test(attribute) && /^(INPUT|OPTION)$/.test(element.nodeName) && element.type !== "hidden");
  }

  function morph(from, to) {
    if (from.nodeType !== Node.ELEMENT_NODE) {
      if (from.data !== to.data) from.data = to.data;
      return;
    }
    for (const { name, value } of [...to.attributes]) {
      if (from.getAttribute(name) !== value && !keeps(from, name)) from.setAttribute(name, value);
    }
    for (const { name } of [...from.attributes]) {
      if (!to.hasAttribute(name) && !keeps(from, name)) from.removeAttribute(name);
    }
    const old = children(from), wanted = children(to);
    for (const [name, node] of old) if (!wanted.has(name)) node.remove();
    let next = from.firstChild;
    for (const [name, node] of wanted) {
      const known = old.get(name);
      if (known && known === next) next = next.nextSibling;
      else if (known && from.moveBefore) from.moveBefore(known, next); // keeps the focus
      else from.insertBefore(known || node, next);
      if (known) morph(known, node);
    }
  }

  // --- what the reader is using ---

  let touched = 0;
  for (const kind of ["pointermove", "pointerdown", "keydown", "wheel", "focusin", "input"]) {
    document.addEventListener(kind, () => { touched = Date.now(); }, { passive: true, capture: true });
  }
  const isIdle = () => Date.now() - touched > IDLE;

  const isDirty = (field) => field.type !== "hidden" && (field.options
    ? [...field.options].some((option) => option.selected !== option.defaultSelected && option.index)
    : field.value !== field.defaultValue);

  function selected() {
    const selection = getSelection();
    return selection.isCollapsed ? [] : [selection.anchorNode, selection.focusNode].map((node) =>
      node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement).filter((one) => one && main.contains(one));
  }

  // Elements of <main> that must not move; the text of `selected` must not change either.
  function inUse() {
    const found = [...main.querySelectorAll("input, select, textarea")].filter(isDirty);
    if (isIdle()) return found;
    const focused = document.activeElement, hovered = [...main.querySelectorAll(":hover")].pop();
    if (focused !== main && main.contains(focused)) found.push(focused);
    if (hovered) found.push(hovered.closest(CONTROLS) || hovered.closest(ROWS) || hovered);
    return [...found, ...selected()];
  }

  function path(element) {
    const names = [];
    for (let one = element; one !== main; one = one.parentElement) {
      names.unshift([...children(one.parentElement)].find(([, node]) => node === one)[0]);
    }
    return names;
  }

  const follow = (root, names) => names.reduce((one, name) => one && children(one).get(name), root);
  const words = (element) => element.textContent.replace(/\s+/g, " ");
  const actions = (row) => [...row.querySelectorAll("a, form, button")].map((one) =>
    one.getAttribute("href") || one.getAttribute("action") || `${words(one)} ${one.disabled}`).join("\n");

  // Whether everything in use keeps its place and function once `next` is shown: laid out invisibly and measured.
  function stays(next) {
    const texts = new Set(selected());
    const held = inUse().map((element) => [element, element.closest(ROWS)])
      .filter(([element, row]) => row || texts.has(element) || element.matches(CONTROLS));
    if (!held.length) return true;
    const trials = [main, next].map((one) => {
      const trial = one.cloneNode(true);
      for (const details of main.querySelectorAll("details[open]")) follow(trial, path(details))?.setAttribute("open", "");
      showAges(trial);
      const { style } = trial;
      [style.position, style.visibility, style.top, style.left, style.margin] = ["absolute", "hidden", "0", "0", "0"];
      style.width = `${main.getBoundingClientRect().width}px`;
      return trial;
    });
    document.body.append(...trials);
    const [before, after] = trials;
    const fixed = held.every(([element, row]) => {
      const names = path(element), old = follow(before, names), now = follow(after, names);
      if (!old || !now) return false;
      if (row && actions(follow(before, path(row))) !== actions(follow(after, path(row)))) return false;
      if (texts.has(element) && words(old) !== words(now)) return false;
      const a = old.getBoundingClientRect(), b = now.getBoundingClientRect();
      return Math.abs(a.top - b.top) <= 1 && Math.abs(a.left - b.left) <= 2;
    });
    before.remove();
    after.remove();
    return fixed;
  }

  // --- updates ---

  let fetched = null; // the newest document that is not shown yet
  let waiting = 0; // how many of its rows differ, while they wait

  // The text of each row, without relative times.
  function rows(root) {
    const copy = root.cloneNode(true), found = new Map(), seen = new Map();
    for (const one of copy.querySelectorAll("[data-since]")) one.textContent = "";
    for (const row of copy.querySelectorAll("tr, li")) {
      const name = nameOf(row), count = (seen.get(name) || 0) + 1;
      seen.set(name, count);
      if (!row.parentElement.closest("li")) found.set(`${name} ${count}`, words(row));
    }
    return found;
  }

  function differences(next) {
    const old = rows(main), now = rows(next);
    const changed = [...now].filter(([name, text]) => old.get(name) !== text);
    const gone = [...old.keys()].filter((name) => !now.has(name));
    return Math.max(1, changed.length + gone.length);
  }

  function show(next) {
    const focused = document.activeElement;
    const anchor = scrollY > 0 && [...main.querySelectorAll("tr, li, section")].find((one) =>
      one.getBoundingClientRect().top >= header.getBoundingClientRect().bottom);
    const top = anchor && anchor.getBoundingClientRect().top;
    morph(main, next);
    showAges(main);
    if (anchor && anchor.isConnected) scrollBy(0, anchor.getBoundingClientRect().top - top);
    if (focused !== document.activeElement && main.contains(focused)) focused.focus({ preventScroll: true });
  }

  function settle(isWanted = false) {
    if (!fetched) return;
    const isFree = isWanted || isIdle() || !header.querySelector("nav a:hover, [data-attention] a:hover");
    for (const part of isFree ? ["header nav", "[data-attention]"] : []) {
      const [old, now] = [document, fetched].map((one) => one.querySelector(part));
      if (old && now) morph(old, now.cloneNode(true));
    }
    document.title = fetched.title;
    const next = fetched.getElementById("main").cloneNode(true);
    const isStill = isWanted || stays(next);
    waiting = isStill ? 0 : differences(next);
    if (isStill) show(next);
    if (isStill && isFree) fetched = null;
    showState();
  }

  // --- the state in the header ---

  let state = { name: "on", why: "" };
  const label = document.createElement("span"), strip = document.createElement("span");
  strip.className = "live-detail";
  live.append(label, strip);

  function button(text, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.addEventListener("click", act);
    return made;
  }

  const LABELS = { on: "Live", off: "Not live", wait: "Checking" };
  let shownState = "";

  function showState(changed = state) {
    state = changed;
    const updates = state.name === "on" && waiting;
    const current = JSON.stringify([state, updates]);
    if (current === shownState) return; // a screen reader reads each change aloud
    shownState = current;
    live.className = `live is-${state.name}`;
    label.textContent = state.why ? "" : LABELS[state.name];
    const hadFocus = strip.contains(document.activeElement);
    strip.replaceChildren();
    if (state.why) strip.append(`${LABELS[state.name]}: ${state.why}`);
    if (state.act) strip.append(" ", button(state.act, () => location.reload()));
    if (updates) strip.append(" ", button(updates === 1 ? "Show 1 update" : `Show ${updates} updates`, () => settle(true)));
    const back = strip.querySelector("button") || (lastFocused?.isConnected ? lastFocused : main);
    if (hadFocus) back.focus({ preventScroll: true });
  }

  let lastFocused = null;
  main.addEventListener("focusin", (event) => { lastFocused = event.target; });
  let pause = 0;
  for (const kind of ["pointerout", "focusout"]) {
    main.addEventListener(kind, () => {
      clearTimeout(pause);
      if (waiting) pause = setTimeout(() => strip.matches(":hover, :focus-within") || settle(), PAUSE);
    });
  }

  // The second click of a double click is ignored, also on the page that the first one has opened.
  document.addEventListener("click", (event) => {
    if (event.detail > 1 && event.target.closest("form[method=post] button")) event.preventDefault();
  }, { capture: true });

  // --- polling ---

  let etag = null, failures = 0, timer = 0, pending = null, leaving = false;
  let good = Date.now(); // when the page was known to be up to date
  let earliest = 0; // when the server allows the next request

  const off = (why, act = "", wait = MAX_WAIT) => ({ name: "off", why, act, wait });

  // An error response: why nothing is updated, what helps, when to poll again (null: never).
  async function refusal(answer) {
    const { status } = answer;
    const after = answer.headers.get("Retry-After");
    const delay = after === null ? 0 : (/^\d+$/.test(after) ? after * 1000 : Date.parse(after) - Date.now()) || 0;
    const wait = Math.min(Math.max(delay, 0), 3600000);
    earliest = Date.now() + wait;
    if (answer.type === "opaqueredirect") return off("you are signed out.", "Sign in", null);
    if (status === 401) {
      const problem = await answer.json().catch(() => ({}));
      const isMissing = String(problem.type).endsWith("key-missing");
      return off(isMissing ? "a key is now required." : "the key is no longer valid.", "Sign in", null);
    }
    if (status === 403) return off("access to this page is refused.", "Reload", Math.max(wait, MAX_WAIT));
    if (status === 404 || status === 410) return off("this page no longer exists.", "Reload", Math.max(wait, MAX_WAIT));
    if (status === 429) return off("too many requests. Updates resume automatically.", "", wait || MAX_WAIT);
    if (status >= 500) failures += 1;
    if (status >= 500) return off(`server error (HTTP ${status}). Retrying.`, "", Math.max(wait, backoff()));
    return off(`the server rejected the request (HTTP ${status}).`, "Reload");
  }

  const backoff = () => Math.min(EVERY * 2 ** Math.max(failures - 1, 0), MAX_WAIT);

  async function outcome(answer) {
    if (answer.status === 304) return { name: "on", why: "" };
    if (answer.status !== 200) return refusal(answer);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!page.querySelector("[data-live]")) return off("the server returned a different page.", "Reload");
    const styles = (one) => [...one.querySelectorAll("link[rel=stylesheet], script[src]")].map((element) => element.outerHTML).join();
    if (styles(page) !== styles(document)) return off("flexportd was updated.", "Reload");
    etag = answer.headers.get("ETag");
    fetched = page;
    return { name: "on", why: "" };
  }

  async function poll() {
    clearTimeout(timer);
    if (pending || leaving || document.hidden) return;
    if (Date.now() < earliest) {
      timer = setTimeout(poll, earliest - Date.now());
      return;
    }
    const request = pending = new AbortController();
    let isLate = false, result;
    const limit = setTimeout(() => { isLate = true; request.abort(); }, TIMEOUT);
    try {
      const headers = etag ? { "If-None-Match": etag } : {};
      result = await outcome(await fetch(address, { headers, cache: "no-store", redirect: "manual", signal: request.signal }));
    } catch {
      failures += 1;
      result = off(isLate ? "the server is not responding. Retrying." : "no connection to the server. Retrying.", "", backoff());
    }
    clearTimeout(limit);
    if (pending !== request) return; // aborted: another request has replaced it
    pending = null;
    if (result.name === "on") [failures, good, result.wait] = [0, Date.now(), EVERY];
    const { wait, ...rest } = result;
    showState(rest);
    try {
      settle();
      showAges(main);
    } catch (error) {
      showState(off("this page could not be updated.", "Reload"));
      throw error;
    }
    if (wait !== null) timer = setTimeout(poll, wait);
  }

  // After the page was hidden or the machine asleep: the page may be outdated and the connection dead.
  function wake() {
    if (leaving || document.hidden) return;
    if (pending) pending.abort();
    pending = null;
    if (state.name === "on" && Date.now() - good > EVERY) showState({ name: "wait", why: "" });
    poll();
  }

  document.addEventListener("visibilitychange", wake);
  document.addEventListener("resume", wake);
  addEventListener("online", wake);
  addEventListener("offline", wake);
  addEventListener("pagehide", () => {
    leaving = true;
    clearTimeout(timer);
    pending?.abort();
    pending = null;
  });
  addEventListener("pageshow", (event) => {
    leaving = false;
    if (event.persisted) wake();
  });
  let ticked = Date.now();
  setInterval(() => {
    const slept = Date.now() - ticked > 2 * EVERY;
    ticked = Date.now();
    if (slept) wake();
  }, 1000);

  // The notice of a form is shown once, not again on reload.
  const plain = new URL(address);
  plain.searchParams.delete("done");
  if (plain.href !== address) history.replaceState(history.state, "", plain);
  showState();
  timer = setTimeout(poll, EVERY);
})();
