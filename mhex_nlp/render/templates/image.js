// SPDX-License-Identifier: Apache-2.0
// Sets how strong the map is, and tells of the cell that is pointed at, touched, or reached with the arrow keys.
"use strict";
for (const card of document.querySelectorAll(".im")) {
  const stage = card.querySelector(".stage");
  const svg = stage.querySelector("svg");
  const cells = stage.querySelector(".cells");
  const note = card.querySelector(".tell");
  const rows = Number(stage.dataset.rows);
  const cols = Number(stage.dataset.cols);
  const hint = "Point at a cell, touch it, or use arrow keys.";
  const marks = ["at under", "at"].map((name) => {
    const mark = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    mark.setAttribute("class", name);
    mark.setAttribute("width", 1);
    mark.setAttribute("height", 1);
    cells.append(mark);
    return mark;
  });
  let at;

  const show = (cell) => {
    at = cell;
    for (const mark of marks) {
      mark.style.display = at ? "" : "none";
      mark.setAttribute("x", at ? at[1] : 0);
      mark.setAttribute("y", at ? at[0] : 0);
    }
    const map = [...cells.querySelectorAll(".k")].find((each) => getComputedStyle(each).display !== "none");
    const score = at && map.dataset.scores.split(" ")[at[0] * cols + at[1]];
    note.textContent = at ? `Row ${at[0] + 1}, column ${at[1] + 1}: ${score} logits` : hint;
  };
  const point = ({ clientX, clientY }) => {
    const { x, y } = new DOMPoint(clientX, clientY).matrixTransform(cells.getScreenCTM().inverse());
    const inside = x >= 0 && y >= 0 && x < cols && y < rows;
    show(inside ? [Math.floor(y), Math.floor(x)] : undefined);
  };

  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
  svg.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && show());
  stage.tabIndex = 0;
  stage.setAttribute("role", "group");
  stage.setAttribute("aria-label", "Map; arrow keys go from cell to cell");
  stage.addEventListener("blur", () => show());
  stage.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (event.key === "Escape") show();
    if (!step) return;
    event.preventDefault();
    const [row, col] = at ?? [-step[0], -step[1]];
    show([Math.min(rows - 1, Math.max(0, row + step[0])), Math.min(cols - 1, Math.max(0, col + step[1]))]);
  });
  card.addEventListener("change", () => show(at));
  card.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  const strength = card.querySelector(".op");
  const input = strength.querySelector("input");
  const set = () => svg.style.setProperty("--strength", input.value / 100);
  input.addEventListener("input", set);
  strength.hidden = note.hidden = false;
  set();
  show();
}
