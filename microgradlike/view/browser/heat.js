// A wide array as a picture: a cell for each number, coloured by sign and size. The number under the pointer is said,
// and lights its node; by keyboard the arrows lead from cell to cell, and Enter opens the ledger.

function heatMap(page, title, rows, read) {
  const wide = rows[0].length, high = rows.length, entries = rows.map((row) => row.map(read));
  const numbers = entries.flat().map(({ number }) => number ?? NaN), known = numbers.filter(Number.isFinite);
  const most = known.reduce((most, x) => Math.max(most, Math.abs(x)), 0), step = (size, room) => Math.max(1, Math.min(14, Math.floor(room / size)));
  const [across, down] = [step(wide, 640), step(high, 280)];
  const canvas = el("canvas", { width: wide, height: high, tabindex: 0, role: "img", style: `width:${wide * across}px;height:${high * down}px`,
    "aria-label": `${title}, ${high} × ${wide}, ` + (known.length ? `the largest size is ${most.toPrecision(4)}` : "not yet computed") + ". Arrows lead from number to number" });
  const said = el("output", { class: "said" }, "\u00a0"), cursor = el("i", { class: "cell", hidden: true, style: `width:${across}px;height:${down}px` });
  let at = [0, 0];

  const pen = canvas.getContext("2d"), image = pen.createImageData(wide, high);
  numbers.forEach((x, n) => image.data.set(Number.isNaN(x) ? [140, 149, 159, 60] : [...heatColor(most ? x / most : 0), 255], 4 * n));
  pen.putImageData(image, 0, 0);

  function point(j, k) {
    at = [Math.max(0, Math.min(high - 1, j)), Math.max(0, Math.min(wide - 1, k))];
    const { said: name, text, node, edge } = entries[at[0]][at[1]];
    cursor.hidden = false;
    cursor.style.left = at[1] * across + "px";
    cursor.style.top = at[0] * down + "px";
    said.textContent = `${name} = ${text}`;
    page.links.point(node === undefined ? [] : [node], edge === undefined ? [] : [edge]);
  }
  function leave() {
    cursor.hidden = true;
    page.links.point([], []);
  }
  function choose() {
    const { node, edge } = entries[at[0]][at[1]];
    page.choose(node ?? +edge.split("_")[0]);
  }
  canvas.addEventListener("pointermove", (event) => point(Math.floor(event.offsetY / down), Math.floor(event.offsetX / across)));
  canvas.addEventListener("pointerleave", leave);
  canvas.addEventListener("focus", (event) => { event.stopPropagation(); point(...at); });
  canvas.addEventListener("blur", leave);
  canvas.addEventListener("click", choose);
  canvas.addEventListener("keydown", (event) => {
    const way = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!way && event.key !== "Enter") return;
    event.preventDefault();
    event.stopPropagation();
    if (!way) return choose();
    point(at[0] + way[0], at[1] + way[1]);
    page.say(said.textContent);
  });

  const scale = el("div", { class: "scale", "aria-hidden": "true" }, el("span", {}, known.length ? "−" + most.toPrecision(2) : "–"), el("i", {}),
    el("span", {}, known.length ? most.toPrecision(2) : "–"));
  return el("div", { class: "heat" }, said, el("div", { class: "cells" }, canvas, cursor), scale);
}

// From −1, purple, over 0, white, to 1, green: told apart without red against green.
function heatColor(x) {
  const end = x < 0 ? [118, 42, 131] : [27, 120, 55], t = Math.min(1, Math.abs(x)) ** 0.7;
  return end.map((each) => Math.round(247 + (each - 247) * t));
}
