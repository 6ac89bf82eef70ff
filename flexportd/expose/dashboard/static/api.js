// Makes the API's description handier: finds routes, opens what a link points to, copies commands.
"use strict";
(() => {
  const form = document.querySelector(".docs-find");
  const input = form.querySelector("input"), output = form.querySelector("output");
  const routes = [...document.querySelectorAll(".api-route")].map((box) => ({
    box, text: `${box.querySelector("summary").textContent} ${box.lastElementChild.id}`.toLowerCase().replace(/\s+/g, " "),
  }));
  const holders = [...document.querySelectorAll(".api-group, .api-part")];
  const others = [...document.querySelectorAll(".api-start, .api-troubles")];

  // --- finding ---

  function find() {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const { box, text } of routes) {
      box.hidden = !words.every((word) => text.includes(word));
      count += !box.hidden;
    }
    for (const one of others) one.hidden = words.length > 0;
    for (const one of holders) one.hidden = words.length > 0 && !one.querySelector(".api-route:not([hidden])");
    output.textContent = words.length ? `${count} found` : "";
  }

  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  input.addEventListener("input", find);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
      event.preventDefault();
      input.focus();
    } else if (event.key === "Escape" && input.value) {
      input.value = "";
      find();
    }
  });

  // --- links to what is folded away ---

  function open() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    if (input.value) {
      input.value = "";
      find();
    }
    const box = target.closest("details.api-route");
    if (box) {
      box.open = true;
      box.scrollIntoView();
    }
  }

  window.addEventListener("hashchange", open);
  open();

  // --- copying ---

  async function copy(code) {
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch { // no clipboard without TLS
      getSelection().selectAllChildren(code);
      document.execCommand("copy");
    }
  }

  for (const pre of document.querySelectorAll(".api pre")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await copy(pre.querySelector("code"));
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    pre.append(button);
  }
})();
