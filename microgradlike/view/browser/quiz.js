// The quiz: each gradient is asked for before it is shown.

function makeQuiz(page) {
  let answered = true;
  const box = el("input", { type: "checkbox", onchange: () => { answered = true; page.go(page.step); } });
  box.checked = page.passes.quiz;

  function question(s) {
    const terms = page.passes.wanted(page.passes.chainRule(s).terms);
    return terms.findLast((term) => term.before !== null) || terms[0];
  }
  const asking = () => box.checked && page.step > page.passes.seed && !answered;
  const hides = (i) => asking() && page.passes.chainRule(page.step).terms.some((term) => term.input === i);

  // Who steps forward to s is asked; who jumps there is not.
  function arrive(s) {
    answered = !(box.checked && s > page.passes.seed && s === page.step + 1 && question(s));
  }

  function gradient(i) {
    return hides(i) ? "?" : page.passes.gradient(i, page.step) ?? "–";
  }

  function form() {
    const { passes } = page, each = passes.chainRule(page.step), term = question(page.step);
    const target = passes.gradientName(term.input), local = passes.local(each.node, term.position);
    const said = el("p", { role: "status" });
    const answer = el("input", { type: "text", inputmode: "text", autocomplete: "off", size: 9, "aria-label": "Your prediction of " + target });
    let hints = 0;
    const check = (event) => {
      event.preventDefault();
      const typed = readNumber(answer.value);
      if (typed !== null && right(typed, term)) reveal(`Right: ${target} = ${term.after}`);
      else said.textContent = typed === null
        ? "Type a number, such as -0.25." : `Not yet. ${whereToLook(each, term)}, or take the hint.`;
    };
    const hint = () => {
      hints += 1;
      const sum = term.before === null ? "" : ` Add what had arrived before: ${term.before}.`;
      said.textContent = hints === 1
        ? `Multiply the upstream gradient ${passes.gradientName(each.node)} by the local derivative ${local}` +
          (term.formula ? ` = ${term.formula}.` : ".") + sum
        : `${each.upstream} × ${term.local} = ?` + sum;
    };
    const asked = el("form", { class: "quiz", onsubmit: check },
      el("label", {}, "Predict ", as("product", target), term.before === null ? "" : ` (so far ${term.before})`, " = ", answer), " ",
      el("button", { type: "submit" }, "Check"), " ", button("Hint", "Hint", hint), " ",
      button("Show", "Show the answer", () => reveal("Shown.")), said);
    setTimeout(() => {
      const focused = page.shadow.activeElement;
      if (focused?.matches(".forth, .picture") || focused === null && page.alone) answer.focus();
    });
    page.say(`Predict ${target}`);
    return asked;
  }

  // Where the local derivative stands: on an edge that is drawn, or else in the ledger.
  function whereToLook({ node }, { input, position }) {
    const { nodes } = page.passes;
    return page.picture.shows(node, position) ? `Look at the edge from ${nodes[node].name} to ${nodes[input].name} in the picture`
      : `Look up ${page.passes.local(node, position)} in the ledger of ${nodes[node].name}`;
  }

  // As it is printed, or nearly as it is.
  function right(typed, term) {
    const truth = term.numbers.after;
    return formatNumber(typed) === term.after || Object.is(typed, truth) ||
      (Number.isFinite(typed) && Math.abs(typed - truth) <= Math.max(page.passes.tolerance * Math.abs(truth), 1e-9));
  }

  function reveal(how) {
    answered = true;
    page.paint();
    page.tell(el("p", { class: "verdict", role: "status" }, how));
    page.box.querySelector(".forth").focus({ preventScroll: true });
  }

  return { box, asking, hides, arrive, gradient, form, reveal };
}
