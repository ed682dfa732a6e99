// The matrix form: numbers that stand in the graph already, written as vectors and matrices.

function makeMatrixPanel(page) {
  const element = el("section", { class: "matrix", "aria-label": "Matrix form", tabindex: 0 });
  const MOST = 49; // of more numbers than these, a picture says more
  let painted = ""; // the layer, the step and the numbers that it shows

  // What an entry stands for: a node's gradient, ["data", i] its number, or ["local", i, k] a local derivative.
  function read(entry) {
    const { passes, step, quiz } = page, [what, i, k] = typeof entry === "number" ? ["gradient", entry] : entry;
    const number = what === "gradient" ? (quiz.hides(i) ? null : passes.gradientValue(i, step)) : !passes.known(i, step) ? null
      : what === "data" ? passes.nodes[i].value : passes.localValue(i, k);
    return {
      number, node: what === "local" ? undefined : i, edge: what === "local" ? i + "_" + k : undefined,
      get moved() { return number !== null && (what === "gradient" ? passes.gradientMoved(i, step) : what === "data" ? passes.moved(i) : passes.localMoved(i, k)); },
      get text() { return what === "gradient" && quiz.hides(i) ? "?" : number === null ? "–" : formatNumber(number); },
      get said() { return what === "local" ? passes.local(i, k) : what === "data" ? passes.nodes[i].name : passes.gradientName(i); },
    };
  }

  function array(title, rows) {
    const caption = el("figcaption", linked(rows), title);
    if (rows.flat().length > MOST) return el("figure", {}, caption, heatMap(page, title, rows, read));
    const cell = (entry) => {
      const { text, node, edge, moved } = read(entry);
      return el("td", { "data-node": node, "data-edge": edge, class: moved && "moved" }, text);
    };
    return el("figure", {}, el("table", { class: "vector" }, el("tbody", {}, rows.map((row) => el("tr", {}, row.map(cell))))), caption);
  }

  // What lights all entries of an array, unless they are too many to follow.
  function linked(rows) {
    const all = rows.flat().length > 1000 ? [] : rows.flat().map(read), some = (what) => all.flatMap((each) => each[what] ?? []).join(" ") || null;
    return { "data-node": some("node"), "data-edge": some("edge") };
  }

  // An equation with the titles of these arrays in it as symbols.
  function equation(text, arrays) {
    const rows = new Map(arrays);
    return el("p", { class: "rule" }, text.split(new RegExp(`(${anyOf(rows.keys())})`)).map((part, n) =>
      (n % 2 ? el("span", linked(rows.get(part)), part) : part)));
  }

  function paint() {
    const { layers, nodes, root } = page.passes, { focus, step } = page, focused = page.shadow.activeElement;
    element.hidden = !layers.length;
    if (!layers.length) return;
    const l = focus ?? layers.length - 1, layer = layers[l], { delta, errors, outputs, slopes } = layer;
    const key = [l, step, page.quiz.asking(), nodes[root].data].join();
    if (painted === key && element.contains(focused)) return;
    painted = key;
    const within = element.contains(focused);
    const select = el("select", { "aria-label": "Layer in focus", onchange: () => { page.focus = +select.value; paint(); } },
      layers.map((each, m) => el("option", { value: m }, each.name)));
    select.value = l;
    const local = slopes?.map((row) => row.map(([i, k]) => ["local", i, k]));
    const arrays = [[delta, errors], ...(outputs ? [[layer.arrives, outputs]] : []), ...(slopes ? [[layer.slope, local]] : [])];
    element.replaceChildren(el("h2", {}, "Matrix form, ", select), equation(layer.equation, arrays),
      el("div", { class: "vectors" }, array(delta, errors),
        ...(outputs ? [el("span", {}, slopes ? "=" : "= Jᵀ"), array(layer.arrives, outputs)] : []),
        ...(slopes ? [el("span", {}, "⊙"), array(layer.slope, local)] : [])),
      ...weights(layer));
    if (within && focused.tagName === "SELECT") select.focus();
  }

  // BP4, BP3: the gradients of the weights are δ aᵀ, those of the biases δ.
  function weights({ terms: n, errors, weight, bias, delta, before }) {
    if (!n) return [];
    const { nodes, root } = page.passes, loss = `∂${nodes[root].wrapped || nodes[root].name}/∂`, data = (i) => ["data", i];
    const inputs = errors.map(([z]) => nodes[z].inputs), w = inputs.map((each) => each.slice(0, n));
    const a = inputs[0].slice(n, 2 * n).map((_, k) => errors[0].map((z) => data(nodes[z].inputs[n + k])));
    const b = inputs.map((each) => [each[2 * n]]);
    return [equation(`${loss}${weight} = ${delta} (${before})ᵀ,  ${loss}${bias} = ${delta}`,
      [[loss + weight, w], [delta, errors], [before, a], [loss + bias, b]]),
      el("div", { class: "vectors apart" }, array(loss + weight, w), array(loss + bias, b),
        array(weight, w.map((row) => row.map(data))), array(before, a))];
  }

  return { element, paint };
}
