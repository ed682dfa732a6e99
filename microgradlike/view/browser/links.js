// Links: what carries data-node or data-edge lights all that stands for the same, in the picture and in the panels.
// data-node holds numbers of nodes, data-edge pairs i_k: the edge into node i from its input number k, from 0.

function symbol(role, node, edge, ...text) {
  return el("b", { class: role, "data-node": node, "data-edge": edge }, ...text);
}

// A pattern for any of these texts, the longest first.
function anyOf(texts) {
  return [...texts].sort((a, b) => b.length - a.length).map((text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")).join("|");
}

// A formula, with the names of these nodes in it as symbols.
function formulaOf(passes, text, among) {
  const names = new Map(among.map((i) => [passes.nodes[i].name, i]).filter(([name]) => text.includes(name) && /\p{L}/u.test(name)));
  if (!names.size) return [text];
  return text.split(new RegExp(`(?<![\\p{L}\\p{N}])(${anyOf(names.keys())})(?![\\p{L}\\p{N}])`, "u"))
    .map((part, n) => (n % 2 ? el("span", { "data-node": names.get(part) }, part) : part));
}

function makeLinks(page) {
  const linked = "[data-node], [data-edge]", lit = new Set();
  let wanted = null; // what is pointed at: [nodes, edges]

  const list = (text) => (text ? text.split(" ") : []);
  const has = (text, set) => set.size > 0 && list(text).some((each) => set.has(each));

  function point(nodes, edges) {
    wanted = nodes.length || edges.length ? [new Set(nodes.map(String)), new Set(edges)] : null;
    paint();
  }

  function paint() {
    for (const each of lit) each.classList.remove("lit");
    lit.clear();
    if (!wanted) return;
    for (const each of page.box.querySelectorAll(linked))
      if (has(each.dataset.node, wanted[0]) || has(each.dataset.edge, wanted[1])) lit.add(each);
    for (const each of lit) each.classList.add("lit");
  }

  function from(event) {
    const source = event.target.closest?.(linked);
    point(list(source?.dataset.node), list(source?.dataset.edge));
  }

  // Tab leads to the formula, the picture and the panels; in them ↓ and ↑ lead from symbol to symbol.
  function walk(event) {
    const way = { ArrowDown: 1, ArrowUp: -1 }[event.key], at = event.target;
    if (!way || event.altKey || event.ctrlKey || event.metaKey || at.matches("input, select, textarea, canvas")) return;
    const around = at.closest("section, .picture, .formula");
    if (!around) return;
    const all = [...around.querySelectorAll(linked)].filter((each) => each.getClientRects().length && !each.closest(".broad"));
    const next = all[Math.max(0, all.indexOf(at.closest(linked)) + way)];
    if (!next) return;
    next.setAttribute("tabindex", -1);
    next.addEventListener("blur", () => next.removeAttribute("tabindex"), { once: true });
    next.focus();
    event.preventDefault();
    page.say(say(list(next.dataset.node), list(next.dataset.edge)[0]));
  }

  function say(nodes, edge) {
    const { passes, step } = page, { known } = passes;
    if (edge !== undefined) {
      const [i, k] = edge.split("_").map(Number), term = passes.ledger[passes.nodes[i].inputs[k]].find(([, term]) =>
        term.node === i && term.position === k)?.[1];
      return `Edge from ${passes.nodes[passes.nodes[i].inputs[k]].name} to ${passes.nodes[i].name}: ${passes.local(i, k)} = ` +
        (term && known(i, step) ? term.local : "–");
    }
    if (nodes.length > 1) return count(nodes.length, "node");
    const i = +nodes[0], { name, made, data, constant } = passes.nodes[i];
    return name + (made ? " = " + made : "") + " = " + (known(i, step) ? data : "–") +
      (constant ? "" : `, ${passes.gradientName(i)} = ${page.flow.gradient(i)}`);
  }

  function listen() {
    for (const type of ["pointerover", "focusin"]) page.box.addEventListener(type, from);
    for (const type of ["pointerleave", "focusout"]) page.box.addEventListener(type, () => point([], []));
    page.box.addEventListener("keydown", walk);
    page.box.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target.matches(linked)) event.target.dispatchEvent(new MouseEvent("click", { bubbles: true }));
    });
  }

  return { listen, point, paint };
}
