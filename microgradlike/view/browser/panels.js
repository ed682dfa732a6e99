// What is said beside the picture: this step, the ledger of a node, and all steps as text.

function makeStepPanel(page) {
  const element = el("section", { class: "now", "aria-label": "This step", tabindex: 0 });
  const spoken = el("p", { class: "spoken", "aria-live": "polite" });
  const say = (text) => write(spoken, text);

  function paint() {
    const { passes, step } = page, { nodes, gradientName } = passes, at = passes.active(step), asking = page.quiz.asking();
    element.replaceChildren();
    const head = (...text) => element.append(el("h2", {}, ...text));
    if (step === 0) {
      head("Start");
      element.append(el("p", {}, "The leaves hold their numbers. Step forward with ▶ or →, play with the space bar: first the ",
        "values fill in, then the gradients come back. Click a node for its ledger: what arrives at it, along every path."));
    } else if (step < passes.seed) {
      const { name, made, data, inputs } = nodes[at];
      head("Forward: ", symbol("", at, null, name));
      element.append(el("p", { class: "rule" }, symbol("", at, null, name), " = ", formulaOf(passes, made, inputs), " = ", symbol("product", at, null, data)),
        el("p", { class: "dim" }, [...new Set(inputs)].slice(0, 12).filter((i) => nodes[i].name !== nodes[i].data)
          .flatMap((i, n) => [n ? ",  " : "", el("span", { "data-node": i }, `${nodes[i].name} = ${nodes[i].data}`)])));
    } else if (step === passes.seed) {
      head("The backward pass begins");
      element.append(el("p", { class: "rule" }, symbol("upstream", passes.root, null, gradientName(passes.root)), " = ", symbol("upstream", passes.root, null, "1")),
        el("p", {}, "Every other gradient is not yet computed: –"));
    } else {
      const each = passes.chainRule(step), terms = passes.wanted(each.terms);
      head("Backward: ", symbol("", at, null, nodes[at].name), " hands on ", symbol("upstream", at, null, gradientName(at) + " = " + (each.upstream ?? "–")));
      element.append(asking ? page.quiz.form() : el("div", { class: "products" }, few(terms, (term) => product(each, term))));
      if (!terms.length) element.append(el("p", { class: "dim" },
        each.terms.length ? "All its inputs are constants." : "Nothing arrives at it: it is on a branch that is not taken."));
    }
    if (!asking) say(passes.sentence(step));
  }

  function product(each, term) {
    const { passes } = page, { gradientName } = passes, edge = each.node + "_" + term.position;
    const target = () => symbol("product", term.input, null, gradientName(term.input));
    const local = () => symbol("local", null, edge, passes.local(each.node, term.position));
    return el("div", { class: "rule" },
      el("div", {}, target(), " += ", symbol("upstream", each.node, null, gradientName(each.node)), " · ", local()),
      el("div", {}, "= ", symbol("upstream", each.node, null, each.upstream), " × ", symbol("local", null, edge, term.local), " = ",
        symbol("product", null, edge, term.product), term.formula ? el("span", { class: "dim" }, "with ", local(), " = ",
          formulaOf(passes, term.formula, [each.node, ...passes.nodes[each.node].inputs])) : null),
      term.before === null ? null : el("div", { class: "sum" }, "running sum: ", target(), " = ", term.before,
        " + ", symbol("product", null, edge, term.product), " = ", symbol("product", term.input, null, term.after)));
  }

  return { element, spoken, say, paint };
}

function makeLedgerPanel(page) {
  const said = el("div"), element = el("section", { class: "account", "aria-label": "Ledger", tabindex: 0 }, said);

  function paint() {
    said.replaceChildren();
    element.hidden = page.chosen === null;
    if (element.hidden) return;
    const { passes, step, quiz, chosen: i } = page, node = passes.nodes[i], known = passes.known(i, step);
    const gradient = passes.gradient(i, step) ?? "–";
    said.append(
      el("h2", {}, "Ledger of ", symbol("", i, null, node.name), " ", button("×", "Close the ledger", () => page.choose(-1), { class: "close" })),
      el("p", { class: "rule" }, symbol("", i, null, node.name), node.made ? [" = ", formulaOf(passes, node.made, node.inputs)] : [], " = ",
        symbol("", i, null, known ? node.data : "–"),
        known && passes.moved(i) ? el("span", { class: "dim" }, "recorded: " + formatNumber(passes.recorded[i])) : null));
    const rows = passes.ledger[i].map(([at, term]) => {
      const here = at <= step && !(quiz.asking() && at === step);
      const edge = term.node + "_" + term.position;
      return el("tr", { class: here ? (at === step ? "fresh" : "") : "later" },
        el("td", {}, "from ", symbol("", term.node, null, passes.nodes[term.node].name)),
        el("td", {}, symbol("upstream", term.node, null, here ? term.upstream : "–"), " × ", symbol("local", null, edge, here ? term.local : "–")),
        el("td", {}, "= ", symbol("product", null, edge, here ? term.product : "–")));
    });
    if (node.constant) said.append(el("p", { class: "dim" }, "A constant: nobody asks for its gradient."));
    else if (i === passes.root)
      said.append(el("p", {}, "The root: its gradient is the seed, ", as("product", gradient), "."));
    else if (rows.length)
      said.append(el("table", {}, el("caption", {}, count(rows.length, "contribution") + " to ", symbol("product", i, null, passes.gradientName(i))),
        el("tbody", {}, rows), el("tfoot", {}, el("tr", {}, el("th", { colspan: 2, scope: "row" }, "sum so far"),
          el("td", {}, "= ", as("product", quiz.asking() && passes.ledger[i].some(([at]) => at === step) ? "?" : gradient))))));
    const own = passes.steps.find((each) => each.node === i);
    if (own) said.append(el("p", { class: "dim" }, "Its local derivatives"), ...few(own.terms, (term) => el("div", { class: "rule" },
      symbol("local", null, i + "_" + term.position, passes.local(i, term.position)), term.formula ? [" = ", formulaOf(passes, term.formula, [i, ...node.inputs])] : [],
      " = ", symbol("local", null, i + "_" + term.position, known ? term.local : "–"))));
  }

  return { element, paint };
}

function makeListOfSteps(page) {
  const list = () => {
    if (!element.open) return;
    const items = Array.from({ length: page.passes.last + 1 }, (_, s) => el("li", { value: s }, page.passes.sentence(s)));
    element.replaceChildren(element.firstChild, el("ol", { start: 0 }, items));
  };
  const element = el("details", { class: "all", ontoggle: list }, el("summary", {}, "All steps as text"));
  return element;
}
