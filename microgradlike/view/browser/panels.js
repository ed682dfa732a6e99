// What is said beside the picture: this step, the ledger of a node, and all steps as text.

function makeStepPanel(page) {
  const element = el("section", { class: "now", "aria-label": "This step" });
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
      head("Forward: ", as("", name));
      element.append(el("p", { class: "rule" }, as("", name), " = " + made + " = ", as("product", data)),
        el("p", { class: "dim" }, [...new Set(inputs)].slice(0, 12).map((i) => nodes[i])
          .filter((input) => input.name !== input.data).map((input) => `${input.name} = ${input.data}`).join(",  ")));
    } else if (step === passes.seed) {
      head("The backward pass begins");
      element.append(el("p", { class: "rule" }, as("upstream", gradientName(passes.root)), " = ", as("upstream", "1")),
        el("p", {}, "Every other gradient is not yet computed: –"));
    } else {
      const each = passes.chainRule(step), terms = passes.wanted(each.terms);
      head("Backward: ", as("", nodes[at].name), " hands on ", as("upstream", gradientName(at) + " = " + (each.upstream ?? "–")));
      element.append(asking ? page.quiz.form() : el("div", { class: "products" }, few(terms.map((term) => product(each, term)))));
      if (!terms.length) element.append(el("p", { class: "dim" },
        each.terms.length ? "All its inputs are constants." : "Nothing arrives at it: it is on a branch that is not taken."));
    }
    if (!asking) say(passes.sentence(step));
  }

  function product(each, term) {
    const { gradientName } = page.passes, local = page.passes.local(each.node, term.position);
    const target = gradientName(term.input);
    return el("div", { class: "rule" },
      el("div", {}, as("product", target), " += ", as("upstream", gradientName(each.node)), " · ", as("local", local)),
      el("div", {}, "= ", as("upstream", each.upstream), " × ", as("local", term.local), " = ", as("product", term.product),
        term.formula ? el("span", { class: "dim" }, "with ", as("local", local), " = " + term.formula) : null),
      term.before === null ? null : el("div", { class: "sum" }, "running sum: ", as("product", target), " = ", term.before,
        " + ", as("product", term.product), " = ", as("product", term.after)));
  }

  return { element, spoken, say, paint };
}

function makeLedgerPanel(page) {
  const element = el("section", { class: "account", "aria-label": "Ledger" });

  function paint() {
    element.replaceChildren();
    element.hidden = page.chosen === null;
    if (element.hidden) return;
    const { passes, step, quiz, chosen: i } = page, node = passes.nodes[i], known = passes.known(i, step);
    const gradient = passes.gradient(i, step) ?? "–";
    element.append(
      el("h2", {}, "Ledger of ", as("", node.name), " ", button("×", "Close the ledger", () => page.choose(-1), { class: "close" })),
      el("p", { class: "rule" }, as("", node.name), (node.made ? " = " + node.made : "") + " = ", as("", known ? node.data : "–")));
    const rows = passes.ledger[i].map(([at, term]) => {
      const here = at <= step && !(quiz.asking() && at === step);
      return el("tr", { class: here ? (at === step ? "fresh" : "") : "later" },
        el("td", {}, "from ", as("", passes.nodes[term.node].name)),
        el("td", {}, as("upstream", here ? term.upstream : "–"), " × ", as("local", here ? term.local : "–")),
        el("td", {}, "= ", as("product", here ? term.product : "–")));
    });
    if (node.constant) element.append(el("p", { class: "dim" }, "A constant: nobody asks for its gradient."));
    else if (i === passes.root)
      element.append(el("p", {}, "The root: its gradient is the seed, ", as("product", gradient), "."));
    else if (rows.length)
      element.append(el("table", {}, el("caption", {}, count(rows.length, "contribution") + " to ", as("product", passes.gradientName(i))),
        el("tbody", {}, rows), el("tfoot", {}, el("tr", {}, el("th", { colspan: 2, scope: "row" }, "sum so far"),
          el("td", {}, "= ", as("product", quiz.asking() && passes.ledger[i].some(([at]) => at === step) ? "?" : gradient))))));
    const own = passes.steps.find((each) => each.node === i);
    if (own) element.append(el("p", { class: "dim" }, "Its local derivatives"), ...few(own.terms.map((term) => el("div", { class: "rule" },
      as("local", passes.local(i, term.position)), term.formula ? " = " + term.formula : "", " = ", as("local", known ? term.local : "–")))));
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
