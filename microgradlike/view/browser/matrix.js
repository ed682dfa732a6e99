// The matrix form: the numbers are the gradients of nodes, written as vectors.

function makeMatrixPanel(page) {
  const element = el("section", { class: "matrix", "aria-label": "Matrix form" });
  let painted = {}; // the layer and the step that it shows

  function vector(title, rows, lights) {
    const nodes = rows.flat();
    const cells = (row) => row.map((each) => el("td", {}, typeof each === "number" ? page.quiz.gradient(each) : each));
    const table = el("table", { class: "vector" }, el("tbody", {}, rows.map((row) => el("tr", {}, cells(row)))));
    const on = () => page.picture.light(nodes, true), off = () => page.picture.light(nodes, false);
    const more = lights ? { tabindex: 0, class: "term lights", onmouseenter: on, onmouseleave: off,
      onfocus: on, onblur: off, "aria-label": title + " = " + table.textContent } : { class: "term" };
    return el("figure", more, table, el("figcaption", {}, title));
  }

  function paint() {
    const { layers, known, localNumber } = page.passes, { focus, step } = page, focused = page.shadow.activeElement;
    element.hidden = !layers.length;
    const within = element.contains(focused);
    if (!layers.length || within && painted.focus === focus && painted.step === step) return;
    painted = { focus, step };
    const l = focus ?? layers.length - 1, layer = layers[l];
    const select = el("select", { "aria-label": "Layer in focus", onchange: () => { page.focus = +select.value; paint(); } },
      layers.map((each, m) => el("option", { value: m }, each.name)));
    select.value = l;
    const slopes = layer.slopes?.map((row) => row.map(([i, k]) => (known(i, step) ? localNumber(i, k) : "–")));
    element.replaceChildren(el("h2", {}, "Matrix form, ", select), el("p", { class: "rule" }, layer.equation),
      el("div", { class: "vectors" }, vector(layer.delta, layer.errors, true),
        ...(layer.outputs ? [el("span", {}, slopes ? "=" : "= Jᵀ"), vector(layer.arrives, layer.outputs, false)] : []),
        ...(slopes ? [el("span", {}, "⊙"), vector(layer.slope, slopes, false)] : [])),
      el("p", { class: "dim" }, `Point at ${layer.delta}: its entries are the gradients of the z nodes.`));
    if (within && focused.tagName === "SELECT") select.focus();
  }

  return { element, paint };
}
