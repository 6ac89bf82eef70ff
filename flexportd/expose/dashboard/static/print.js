// Writes the date of printing on the paper: pages carry none, so that an unchanged page keeps its ETag.
"use strict";
addEventListener("beforeprint", () => {
  const printed = document.querySelector("[data-printed]");
  const parts = {
    day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "shortOffset",
  };
  const words = new Intl.DateTimeFormat("en-GB", parts).format(new Date());
  printed.textContent = `Printed ${words.replace("GMT", "UTC").replace(/\+0$/, "")}`;
});
