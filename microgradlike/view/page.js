// Steps through a recorded graph: draws nothing and computes nothing, it shows what `steps` in Python wrote down.
// All lives in a shadow root: no style or id leaks out to the page around, and none leaks in.
function show(host, data, pictures, css, alone, stepped, moved) {
  "use strict";
  let views, nodes, passes, forward, ledger, last;
  const root = host.shadowRoot || host.attachShadow({ mode: "open" });
  root.innerHTML = "";

  // ── Elements. Text is only ever set as text, whatever a label holds. ─────────────────────────

  function el(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value === true) made.setAttribute(name, "");
      else if (value !== false && value != null) made.setAttribute(name, value);
    }
    made.append(...children.flat().filter((child) => child != null));
    return made;
  }
  const button = (sign, name, act, more) =>
    el("button", { type: "button", "aria-label": name, title: name, onclick: act, ...more }, sign);
  const as = (role, ...text) => el("b", { class: role }, ...text);
  const count = (n, what) => n + " " + what + (n === 1 ? "" : "s");

  // ── The state after step s: 0 the leaves; then one for each result; the seed; then one for each chain rule ──

  const seed = () => forward.length + 1;
  const pass = (s) => passes[s - seed() - 1]; // what the backward pass does at step s
  const known = (i) => data.nodes[i].made === undefined || nodes[i].computed <= step;
  const gradient = (i, s = step) => {
    if (i === data.root) return s >= seed() ? data.one : null;
    let sum = null;
    for (const [at, term] of ledger[i]) if (at <= s) sum = term.after;
    return sum;
  };
  let step = 0, chosen = null, view = 0, timer = null, answered = true, focus = null;

  function read(fresh) {
    data = fresh;
    nodes = data.nodes.map((node) => ({ ...node, computed: 0 }));
    forward = [];
    data.nodes.forEach((node, i) => {
      if (node.made !== undefined && data.shown[i]) nodes[i].computed = forward.push(i);
    });
    // a node that is not drawn has its value with the next one that is
    let next = forward.length;
    for (let i = nodes.length - 1; i >= 0; i--) {
      if (nodes[i].computed) next = nodes[i].computed;
      else nodes[i].computed = next;
    }
    ledger = nodes.map(() => []);
    passes = data.steps.filter((each) => data.shown[each.node]);
    let at = seed();
    for (const each of data.steps) {
      if (data.shown[each.node]) at += 1;
      for (const term of each.terms) ledger[term.input].push([at, { ...term, node: each.node, upstream: each.upstream }]);
    }
    last = seed() + passes.length;
    views = data.views;
  }
  read(data);

  // ── Text ─────────────────────────────────────────────────────────────────────────────────────

  const name = (i) => nodes[i].name;
  const d = (i, j) => "∂" + (nodes[i].wrapped || nodes[i].name) + "/∂" + (nodes[j].wrapped || nodes[j].name);
  const dL = (i) => d(data.root, i);
  const quizzed = (s) => quiz.checked && s > seed() && !answered;

  function question(s) {
    const terms = pass(s).terms.filter((term) => !nodes[term.input].constant);
    return terms.findLast((term) => term.before !== null) || terms[0];
  }

  function chainRule(each, hidden) {
    return each.terms.filter((term) => !nodes[term.input].constant).map((term) => {
      const hide = (text) => (hidden ? "?" : text);
      const local = d(each.node, term.input);
      const line = el("div", { class: "rule" },
        el("div", {}, as("product", dL(term.input)), " += ", as("upstream", dL(each.node)), " · ", as("local", local)),
        el("div", {}, "= ", as("upstream", each.upstream), " × ", as("local", hide(term.local)),
          " = ", as("product", hide(term.product)),
          term.formula ? el("span", { class: "dim" }, "with ", as("local", local), " = " + term.formula) : null));
      if (term.before !== null)
        line.append(el("div", { class: "sum" }, "running sum: ", as("product", dL(term.input)), " = ", term.before,
          " + ", as("product", hide(term.product)), " = ", as("product", hide(term.after))));
      return line;
    });
  }

  function few(lines, most = 8) {
    if (lines.length <= most + 1) return lines;
    const more = el("details", {}, el("summary", {}, count(lines.length - most, "more input")), ...lines.slice(most));
    return [...lines.slice(0, most), more];
  }

  function sentence(s) {
    if (s === 0) return "Start. The leaves hold their numbers; nothing is computed yet.";
    if (s < seed()) {
      const i = forward[s - 1];
      return `Forward: ${name(i)} = ${nodes[i].made} = ${nodes[i].data}`;
    }
    if (s === seed()) return `Backward begins with the seed: ${dL(data.root)} = ${data.one}`;
    const each = pass(s);
    return `Backward at ${name(each.node)}: ` + each.terms.filter((term) => !nodes[term.input].constant).map((term) =>
      `${dL(term.input)} += ${dL(each.node)} · ${d(each.node, term.input)} = ` +
      `${each.upstream} × ${term.local} = ${term.product}` +
      (term.before === null ? "" : `, running sum ${term.before} + ${term.product} = ${term.after}`)).join("; ");
  }

  // ── Controls ─────────────────────────────────────────────────────────────────────────────────

  const slider = el("input", { type: "range", min: 0, "aria-label": "Step", oninput: () => go(+slider.value) });
  const playing = button("▶ Play", "Play", () => play());
  const place = el("output", { class: "place" });
  const shown = el("select", { "aria-label": "Level of detail", onchange: () => open(+shown.value) });
  const whose = el("select", { "aria-label": "Show the ledger of a node", onchange: () => choose(+whose.value) });
  const quiz = el("input", { type: "checkbox", onchange: () => { answered = true; go(step); } });
  quiz.checked = data.quiz;
  const picture = el("div", { class: "picture", tabindex: 0, role: "group", "aria-label": "Graph" });
  const now = el("section", { class: "now", "aria-label": "This step" });
  const spoken = el("p", { class: "spoken", "aria-live": "polite" });
  const account = el("section", { class: "account", "aria-label": "Ledger" });
  const matrix = el("section", { class: "matrix", "aria-label": "Matrix form" });
  const all = el("details", { class: "all", ontoggle: listAll }, el("summary", {}, "All steps as text"));

  const box = el("div", { class: "box", role: "group", "aria-label": data.title },
    el("div", { class: "bar", role: "toolbar", "aria-label": "Steps" },
      button("|◀", "First step", () => go(0)), button("◀", "Step back", () => go(step - 1)),
      button("▶", "Step forward", forth, { class: "forth" }), playing, slider, place),
    el("div", { class: "bar" },
      button("Forward pass", "Go to the start of the forward pass", () => go(0), { class: "tab forward" }),
      button("Backward pass", "Go to the start of the backward pass", () => go(seed()), { class: "tab backward" }),
      el("label", {}, quiz, " Quiz"),
      data.views.length > 1 ? el("label", {}, "Show ", shown) : null,
      el("label", {}, "Ledger of ", whose)),
    data.note ? el("p", { class: "note" }, data.note) : null,
    picture, spoken, leaves(), el("div", { class: "panels" }, now, el("div", {}, matrix, account)), all);
  root.append(el("style", {}, css), box);

  // What if a leaf had another number? Only where Python is there to answer.
  function leaves() {
    if (!moved) return null;
    const each = data.nodes.map((node, i) => [node, i]).filter(([node, i]) => !node.inputs && !node.constant && data.shown[i]);
    return el("details", { class: "leaves", open: each.length <= 8 }, el("summary", {}, "What if a leaf had another number?"),
      each.map(([node, i]) => {
        const start = +node.data, reach = Math.max(2, 2 * Math.abs(start)) || 2;
        const range = el("input", { type: "range", min: -reach, max: reach, step: "any", value: start, "aria-label": node.name });
        const typed = el("input", { type: "number", step: "any", value: start, "aria-label": node.name + " as a number" });
        range.addEventListener("input", () => { typed.value = (+range.value).toPrecision(3); moved(i, +typed.value); });
        typed.addEventListener("input", () => { if (typed.value !== "") { range.value = typed.value; moved(i, +typed.value); } });
        return el("label", {}, as("", node.name), range, typed);
      }));
  }

  // ── Moving ───────────────────────────────────────────────────────────────────────────────────

  function go(s) {
    s = Math.max(0, Math.min(last, Number.isFinite(s) ? s : 0));
    answered = !(quiz.checked && s > seed() && s === step + 1 && question(s));
    step = s;
    const layer = data.layers.findIndex((each) => each.members.includes(active()));
    if (layer >= 0) focus = layer;
    paint();
    if (alone) history.replaceState(null, "", "#step=" + s);
    if (stepped) stepped({ step: s });
  }
  function forth() {
    if (quizzed(step)) reveal("Shown.");
    else go(step + 1);
  }
  function play(on = timer === null) {
    clearInterval(timer);
    timer = null;
    if (on) {
      if (step === last) go(0);
      timer = setInterval(() => {
        if (!host.isConnected || step === last || quizzed(step)) play(false);
        else go(step + 1);
      }, 1200);
    }
    playing.textContent = on ? "⏸ Pause" : "▶ Play";
    playing.setAttribute("aria-label", on ? "Pause" : "Play");
  }
  function choose(i) {
    chosen = i >= 0 ? i : null;
    const layer = data.layers.findIndex((each) => each.members.includes(chosen));
    if (layer >= 0) focus = layer;
    paint();
  }
  function active(s = step) {
    return s === 0 ? null : s < seed() ? forward[s - 1] : s === seed() ? data.root : pass(s).node;
  }

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.composedPath()[0];
    const typing = target.matches?.("input:not([type=range]):not([type=checkbox]), select, textarea, [contenteditable]");
    const slides = target.type === "range";
    const act = { ArrowRight: forth, ArrowLeft: () => go(step - 1), Home: () => go(0), End: () => go(last),
      " ": () => play() }[event.key];
    if (!act || typing || (slides && event.key !== " ")) return;
    if (event.key === " " && target.matches?.("button, summary, input[type=checkbox]")) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }
  (alone ? document : root).addEventListener("keydown", key);
  const linked = () => (alone && /#step=(\d+)/.exec(location.hash)?.[1]) || 0;
  if (alone) addEventListener("hashchange", () => { if (+linked() !== step) go(+linked()); });

  // ── The picture: which element stands for a node, whether a closed box holds it or not ───────

  let stands = [], edges = new Map(), element = () => null;

  function open(v) {
    view = v;
    picture.innerHTML = pictures[v];
    const ids = new Map([...picture.querySelectorAll("[id]")].map((each) => [each.id.slice(data.id.length + 1), each]));
    element = (id) => ids.get(id);
    const closed = new Set(views[v].closed);
    stands = nodes.map((node, i) => {
      let box = null;
      for (let g = node.group; g !== undefined; g = data.groups[g].parent) if (closed.has(g)) box = g;
      return element(box === null ? "n" + i : "c" + box);
    });
    nodes.forEach((node, i) => {
      const drawn = element("n" + i);
      if (!drawn) return;
      write(drawn.querySelector("title"), node.name + (node.made ? " = " + node.made : ""));
      const texts = [...drawn.querySelectorAll(":scope > text")];
      [node.dataText, node.gradientText] = node.constant ? [texts.at(-1)] : texts.slice(-2);
    });
    data.groups.forEach((group, g) => {
      const drawn = element("c" + g);
      group.dataText = group.gradientText = null;
      if (!drawn) return;
      const texts = [...drawn.querySelectorAll("text")];
      [group.dataText, group.gradientText] = closed.has(g) && group.output !== undefined ? texts.slice(-2) : [];
      if (!closed.has(g) && texts.length && views.some((each) => each.closed.includes(g))) texts[0].textContent += " ▾";
    });
    edges = new Map();
    const locals = new Map(data.steps.flatMap((each) => each.terms.map((term) => [each.node + "_" + term.position, term])));
    for (const [id, drawn] of ids) {
      const [, i, k] = /^e(\d+)_(\d+)$/.exec(id) || [];
      if (i === undefined) continue;
      edges.set(stands[data.nodes[i].inputs[k]]?.id + ">" + stands[i]?.id, drawn);
      drawn.target = +i;
      const label = drawn.querySelector(":scope > text"), term = locals.get(i + "_" + k);
      if (label && term) write(label, (label.textContent[0] === "↑" ? "↑ " : "") + term.local);
    }
    shown.value = v;
    fit();
    paint();
  }
  picture.addEventListener("click", (event) => {
    const hit = event.target.closest(".node, .cluster > text");
    const [, kind, i] = /-([nc])(\d+)$/.exec(hit?.closest("[id]").id) || [];
    if (kind === "n") choose(+i);
    if (kind === "c") toggle(+i);
  });
  function toggle(g) {
    // the view nearest to the wished one, of those in which this box is open (or closed)
    const wished = new Set(views[view].closed);
    const close = !wished.delete(g);
    if (close) wished.add(g);
    const inside = (h) => h !== undefined && (h === g || inside(data.groups[h].parent));
    const distance = (closed) => [...wished].filter((h) => !closed.includes(h) && (h === g || !inside(h))).length +
      closed.filter((h) => !wished.has(h) && !inside(h)).length;
    const fitting = views.map((each, v) => v).filter((v) => views[v].closed.includes(g) === close);
    fitting.sort((a, b) => distance(views[a].closed) - distance(views[b].closed) || a - b);
    if (fitting.length) open(fitting[0]);
  }
  const edge = (i, k) => (stands[i] === element("n" + i) && element("e" + i + "_" + k)) ||
    edges.get(stands[data.nodes[i].inputs[k]]?.id + ">" + stands[i]?.id) || element("em" + i);

  function fit() {
    const svg = picture.querySelector("svg");
    if (!svg) return;
    const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
    const scale = Math.max(1, Math.min(1.35, (picture.clientWidth - 4) / width));
    svg.setAttribute("width", width * scale);
    svg.setAttribute("height", height * scale);
  }

  let marked = [];
  function mark(drawn, ...classes) {
    if (!drawn) return;
    drawn.classList.add(...classes);
    marked.push([drawn, classes]);
  }
  const write = (text, content) => {
    if (text && text.textContent !== content) text.textContent = content;
  };

  function paint() {
    const at = active(), hidden = quizzed(step), each = step > seed() ? pass(step) : null;
    const given = new Set(hidden ? each.terms.map((term) => term.input) : []);
    const gradientText = (i) => "∇ " + (given.has(i) ? "?" : gradient(i) ?? "–");
    nodes.forEach((node, i) => {
      write(node.dataText, known(i) ? node.data : "–");
      write(node.gradientText, gradientText(i));
    });
    data.groups.forEach((group) => {
      if (!group.dataText) return;
      write(group.dataText, known(group.output) ? nodes[group.output].data : "–");
      write(group.gradientText, gradientText(group.output));
    });
    for (const [drawn, classes] of marked) drawn.classList.remove(...classes);
    marked = [];
    for (const drawn of picture.querySelectorAll(".edge")) drawn.classList.toggle("unknown", "target" in drawn && !known(drawn.target));
    if (at !== null) {
      mark(stands[at], "active");
      const back = step > seed(), terms = back ? each.terms : [];
      if (step < seed()) nodes[at].inputs.forEach((_, k) => mark(edge(at, k), "along"));
      for (const term of terms) {
        mark(edge(at, term.position), "along", "back");
        if (!nodes[term.input].constant && stands[term.input] !== stands[at]) mark(stands[term.input], "receives");
      }
    }
    if (chosen !== null) mark(stands[chosen], "chosen");
    follow(at);

    slider.max = last;
    slider.value = step;
    slider.setAttribute("aria-valuetext", sentence(step));
    place.textContent = step < seed() ? `forward ${step} / ${forward.length}` :
      `backward ${step - seed()} / ${passes.length}`;
    box.querySelector(".tab.forward").setAttribute("aria-pressed", step < seed());
    box.querySelector(".tab.backward").setAttribute("aria-pressed", step >= seed());
    tellStep(at, each, hidden);
    tellLedger();
    tellMatrix();
  }

  function follow(i) {
    const drawn = i !== null && stands[i];
    if (!drawn) return;
    const inner = drawn.getBoundingClientRect(), outer = picture.getBoundingClientRect();
    if (inner.left < outer.left + 8 || inner.right > outer.right - 8)
      picture.scrollLeft += (inner.left + inner.right - outer.left - outer.right) / 2;
    if (inner.top < outer.top + 8 || inner.bottom > outer.bottom - 8)
      picture.scrollTop += (inner.top + inner.bottom - outer.top - outer.bottom) / 2;
  }

  // ── What is said beside the picture ──────────────────────────────────────────────────────────

  function tellStep(at, each, hidden) {
    now.replaceChildren();
    const head = (...text) => now.append(el("h3", {}, ...text));
    if (step === 0) {
      head("Start");
      now.append(el("p", {}, "The leaves hold their numbers. Step forward with ▶ or →, play with the space bar: first the ",
        "values fill in, then the gradients come back."));
    } else if (step < seed()) {
      head("Forward: ", as("", name(at)));
      now.append(el("p", { class: "rule" }, as("", name(at)), " = " + nodes[at].made + " = ", as("product", nodes[at].data)),
        el("p", { class: "dim" }, [...new Set(nodes[at].inputs)].slice(0, 12)
          .filter((i) => name(i) !== nodes[i].data).map((i) => `${name(i)} = ${nodes[i].data}`).join(",  ")));
    } else if (step === seed()) {
      head("The backward pass begins");
      now.append(el("p", { class: "rule" }, as("upstream", dL(data.root)), " = ", as("upstream", data.one)),
        el("p", {}, "Every other gradient is not yet computed: –"));
    } else {
      head("Backward: ", as("", name(at)), " hands on ", as("upstream", dL(at) + " = " + each.upstream));
      if (hidden) now.append(ask(question(step)));
      const lines = chainRule(each, hidden);
      now.append(...(hidden ? [] : few(lines)));
      if (!lines.length) now.append(el("p", { class: "dim" }, "All its inputs are constants."));
    }
    if (!hidden) write(spoken, sentence(step));
  }

  function ask(term) {
    const target = dL(term.input), local = d(term.node ?? pass(step).node, term.input);
    const said = el("p", { role: "status" });
    const answer = el("input", { type: "text", inputmode: "text", autocomplete: "off", size: 9, "aria-label": "Your prediction of " + target });
    let hints = 0;
    const check = (event) => {
      event.preventDefault();
      const typed = answer.value.trim().replace(",", ".").replace("−", "-");
      if (right(typed, term.after)) reveal(`Right: ${target} = ${term.after}`);
      else said.textContent = typed === "" || (Number.isNaN(+typed) && !/^(nan|-?inf)$/.test(typed))
        ? "Type a number, such as -0.25." : "Not yet. Look at the edge between the two nodes, or take the hint.";
    };
    const hint = () => {
      hints += 1;
      const sum = term.before === null ? "" : ` Add what had arrived before: ${term.before}.`;
      said.textContent = hints === 1
        ? `Multiply the upstream gradient ${dL(pass(step).node)} by the local derivative ${local}` +
          (term.formula ? ` = ${term.formula}.` : ".") + sum
        : `${pass(step).upstream} × ${term.local} = ?` + sum;
    };
    const form = el("form", { class: "quiz", onsubmit: check },
      el("label", {}, "Predict ", as("product", target), term.before === null ? "" : ` (so far ${term.before})`, " = ", answer), " ",
      el("button", { type: "submit" }, "Check"), " ", button("Hint", "Hint", hint), " ",
      button("Show", "Show the answer", () => reveal("Shown.")), said);
    setTimeout(() => { if (root.activeElement?.matches(".forth, .picture") || root.activeElement === null && alone) answer.focus(); });
    write(spoken, `Predict ${target}`);
    return form;
  }
  function right(typed, truth) {
    if (typed === truth) return true;
    const a = parseFloat(typed), b = parseFloat(truth);
    return typed !== "" && Number.isFinite(+typed) && Math.abs(a - b) <= Math.max(data.tolerance * Math.abs(b), 1e-9);
  }
  function reveal(how) {
    answered = true;
    paint();
    now.append(el("p", { class: "verdict", role: "status" }, how));
    box.querySelector(".forth").focus({ preventScroll: true });
  }

  function tellLedger() {
    whose.value = chosen ?? -1;
    account.replaceChildren();
    if (chosen === null) {
      account.append(el("p", { class: "dim" }, "Click a node to see its ledger: what arrives at it, along every path."));
      return;
    }
    const i = chosen, node = nodes[i], told = gradient(i);
    account.append(el("h3", {}, "Ledger of ", as("", name(i)), " ", button("×", "Close the ledger", () => choose(-1), { class: "close" })),
      el("p", { class: "rule" }, as("", name(i)), (node.made ? " = " + node.made : "") + " = ", as("", known(i) ? node.data : "–")));
    const hides = quizzed(step);
    const rows = ledger[i].map(([at, term]) => {
      const here = at <= step && !(hides && at === step);
      return el("tr", { class: here ? (at === step ? "fresh" : "") : "later" },
        el("td", {}, "from ", as("", name(term.node))),
        el("td", {}, as("upstream", here ? term.upstream : "–"), " × ", as("local", here ? term.local : "–")),
        el("td", {}, "= ", as("product", here ? term.product : "–")));
    });
    if (node.constant) account.append(el("p", { class: "dim" }, "A constant: nobody asks for its gradient."));
    else if (i === data.root) account.append(el("p", {}, "The root: its gradient is the seed, ", as("product", told ?? "–"), "."));
    else if (rows.length)
      account.append(el("table", {}, el("caption", {}, count(rows.length, "contribution") + " to ", as("product", dL(i))),
        el("tbody", {}, rows), el("tfoot", {}, el("tr", {}, el("th", { colspan: 2, scope: "row" }, "sum so far"),
          el("td", {}, "= ", as("product", hides && ledger[i].some(([at]) => at === step) ? "?" : told ?? "–"))))));
    const own = data.steps.find((each) => each.node === i);
    if (own) account.append(el("p", { class: "dim" }, "Its local derivatives"), ...few(own.terms.map((term) => el("div", { class: "rule" },
      as("local", d(i, term.input)), term.formula ? " = " + term.formula : "", " = ", as("local", known(i) ? term.local : "–")))));
  }

  // ── The matrix form: the numbers are the gradients of nodes, written as vectors ──────────────

  function vector(title, rows, lights) {
    const light = (on) => () => {
      for (const i of rows.flat()) if (typeof i === "number") stands[i]?.classList.toggle("lit", on && lights);
    };
    const cells = (row) => row.map((each) => el("td", {}, typeof each !== "number" ? each :
      quizzed(step) && pass(step).terms.some((term) => term.input === each) ? "?" : gradient(each) ?? "–"));
    const table = el("table", { class: "vector" }, el("tbody", {}, rows.map((row) => el("tr", {}, cells(row)))));
    const more = lights ? { tabindex: 0, class: "term lights", onmouseenter: light(true), onmouseleave: light(false),
      onfocus: light(true), onblur: light(false), "aria-label": title + " = " + table.textContent } : { class: "term" };
    return el("figure", more, table, el("figcaption", {}, title));
  }

  function tellMatrix() {
    matrix.hidden = !data.layers.length;
    if (!data.layers.length || matrix.contains(root.activeElement) && matrix.layer === focus && matrix.step === step) return;
    const l = focus ?? data.layers.length - 1, layer = data.layers[l];
    const kept = matrix.contains(root.activeElement) && root.activeElement.tagName === "SELECT";
    Object.assign(matrix, { layer: focus, step });
    const select = el("select", { "aria-label": "Layer in focus", onchange: () => { focus = +select.value; tellMatrix(); } },
      data.layers.map((each, m) => el("option", { value: m }, each.name)));
    select.value = l;
    const slopes = layer.slopes && layer.slopes.map((row, j) => row.map((slope, k) => (known(layer.outputs[j][k]) ? slope : "–")));
    matrix.replaceChildren(el("h3", {}, "Matrix form, ", select), el("p", { class: "rule" }, layer.equation),
      el("div", { class: "vectors" }, vector(layer.delta, layer.errors, true),
        ...(layer.outputs ? [el("span", {}, layer.slopes ? "=" : "= Jᵀ"), vector(layer.arrives, layer.outputs, false)] : []),
        ...(slopes ? [el("span", {}, "⊙"), vector(layer.slope, slopes, false)] : [])),
      el("p", { class: "dim" }, `Point at ${layer.delta}: its entries are the gradients of the z nodes.`));
    if (kept) select.focus();
  }

  function listAll() {
    if (!all.open) return;
    const items = Array.from({ length: last + 1 }, (_, s) => el("li", { value: s }, sentence(s)));
    all.replaceChildren(all.firstChild, el("ol", { start: 0 }, items));
  }

  // ── Light or dark: as the page around is ─────────────────────────────────────────────────────

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const dot = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  function rgba(color) { // however the style sheet writes it
    dot.clearRect(0, 0, 1, 1);
    dot.fillStyle = color;
    dot.fillRect(0, 0, 1, 1);
    return dot.getImageData(0, 0, 1, 1).data;
  }
  function theme() {
    let light = dark.matches ? 0 : 255;
    for (let around = alone ? null : host; around instanceof Element; around = around.parentElement || around.getRootNode().host) {
      const [r, g, b, a] = rgba(getComputedStyle(around).backgroundColor);
      if (a > 127) {
        light = 0.3 * r + 0.59 * g + 0.11 * b;
        break;
      }
    }
    box.classList.toggle("dark", light < 128);
  }
  dark.addEventListener("change", () => setTimeout(theme, 50));
  host.addEventListener("pointerenter", theme);
  theme();

  // ── Begin ────────────────────────────────────────────────────────────────────────────────────

  function lists() {
    shown.replaceChildren(...views.map((each, v) => el("option", { value: v }, each.name)));
    whose.replaceChildren(el("option", { value: -1 }, "no node"), ...nodes.map((node, i) => [i, node]).filter(([i, node]) =>
      data.shown[i] && !node.constant).map(([i]) => el("option", { value: i }, name(i))));
    shown.value = view;
  }
  lists();
  open(view);
  go(+linked());
  new ResizeObserver(() => { fit(); theme(); }).observe(picture);
  const frame = host.parentElement === document.body && window.frameElement; // marimo's, which has a fixed height
  if (frame) new ResizeObserver(() => { frame.style.height = box.offsetHeight + 24 + "px"; }).observe(box);
  return { go, update(fresh) { read(fresh); open(view); }, get step() { return step; } };
}
