// The picture: which element stands for a node, whether a closed box holds it or not, and what is marked in it.

function makePicture(page, pictures) {
  const element = el("div", { class: "picture", tabindex: 0, role: "group", "aria-label": "Graph" });
  let ids = new Map(); // the elements of this picture
  let stands = []; // for each node its element, or that of the closed box around it
  let edges = new Map(); // the edges by the elements that they join
  let labels = []; // [the element of a local derivative, its node, its position, what stands before it]
  let texts = []; // [node, the element of its data, that of its gradient], for nodes and for closed boxes
  let marked = [];

  function open(v) {
    const { id: prefix, nodes, groups, views } = page.passes;
    element.innerHTML = pictures[v];
    dress(element.firstElementChild);
    ids = new Map([...element.querySelectorAll("[id]")].map((each) => [each.id.slice(prefix.length + 1), each]));
    texts = [];
    labels = [];
    const closed = new Set(views[v].closed);
    stands = nodes.map((node, i) => {
      let box = null;
      for (let g = node.group; g !== undefined; g = groups[g].parent) if (closed.has(g)) box = g;
      return ids.get(box === null ? "n" + i : "c" + box);
    });
    nodes.forEach((node, i) => {
      const drawn = ids.get("n" + i);
      if (!drawn) return;
      write(drawn.querySelector("title"), node.name + (node.made ? " = " + node.made : ""));
      const written = [...drawn.querySelectorAll(":scope > text")];
      texts.push(node.constant ? [i, written.at(-1)] : [i, ...written.slice(-2)]);
    });
    groups.forEach((group, g) => {
      const drawn = ids.get("c" + g);
      if (!drawn) return;
      const written = [...drawn.querySelectorAll("text")];
      if (closed.has(g) && group.output !== undefined) texts.push([group.output, ...written.slice(-2)]);
      if (!closed.has(g) && written.length && views.some((each) => each.closed.includes(g))) written[0].textContent += " ▾";
    });
    edges = new Map();
    for (const [id, drawn] of ids) {
      const [, i, k] = /^e(\d+)_(\d+)$/.exec(id) || [];
      if (i === undefined) continue;
      edges.set(stands[nodes[i].inputs[k]]?.id + ">" + stands[i]?.id, drawn);
      drawn.target = +i;
      const label = drawn.querySelector(":scope > text");
      if (label) labels.push([label, +i, +k, label.textContent[0] === "↑" ? "↑ " : ""]);
    }
    page.zoom.fit();
  }

  function edge(i, k) {
    return (stands[i] === ids.get("n" + i) && ids.get("e" + i + "_" + k)) ||
      edges.get(stands[page.passes.nodes[i].inputs[k]]?.id + ">" + stands[i]?.id) || ids.get("em" + i);
  }

  function mark(drawn, ...classes) {
    if (!drawn) return;
    drawn.classList.add(...classes);
    marked.push([drawn, classes]);
  }

  function paint() {
    const { step, passes } = page, at = passes.active(step), backward = step > passes.seed;
    for (const [i, data, gradient] of texts) {
      write(data, passes.known(i, step) ? passes.nodes[i].data : "–");
      write(gradient, "∇ " + page.quiz.gradient(i));
      data?.classList.toggle("moved", passes.moved(i));
      gradient?.classList.toggle("moved", passes.gradientMoved(i));
    }
    for (const [label, i, k, before] of labels) write(label, before + passes.localNumber(i, k));
    for (const [drawn, classes] of marked) drawn.classList.remove(...classes);
    marked = [];
    for (const drawn of element.querySelectorAll(".edge"))
      drawn.classList.toggle("unknown", "target" in drawn && !passes.known(drawn.target, step));
    if (at !== null) mark(stands[at], "active");
    if (at !== null && step < passes.seed) passes.nodes[at].inputs.forEach((_, k) => mark(edge(at, k), "along"));
    for (const term of backward ? passes.chainRule(step).terms : []) {
      mark(edge(at, term.position), "along", "back");
      if (!passes.nodes[term.input].constant && stands[term.input] !== stands[at]) mark(stands[term.input], "receives");
    }
    if (page.chosen !== null) mark(stands[page.chosen], "chosen");
    follow();
  }

  function follow() {
    page.zoom.show([...element.querySelectorAll(".active"), ...element.querySelectorAll(".receives")]);
  }

  function light(nodes, on) {
    for (const i of nodes) stands[i]?.classList.toggle("lit", on);
  }

  element.addEventListener("click", (event) => {
    const hit = event.target.closest(".node, .cluster > text");
    const [, kind, i] = /-([nc])(\d+)$/.exec(hit?.closest("[id]").id) || [];
    if (kind === "n") page.choose(+i);
    if (kind === "c") toggle(+i);
  });

  // Open a closed box, or close an open one: by the view nearest to the wished one, of those in which it is so.
  function toggle(g) {
    const { views, groups } = page.passes, wished = new Set(views[page.view].closed);
    const close = !wished.delete(g);
    if (close) wished.add(g);
    const inside = (h) => h !== undefined && (h === g || inside(groups[h].parent));
    const distance = (closed) => [...wished].filter((h) => !closed.includes(h) && (h === g || !inside(h))).length +
      closed.filter((h) => !wished.has(h) && !inside(h)).length;
    const fitting = views.map((each, v) => v).filter((v) => views[v].closed.includes(g) === close);
    fitting.sort((a, b) => distance(views[a].closed) - distance(views[b].closed) || a - b);
    if (fitting.length) page.open(fitting[0]);
  }

  return { element, open, follow, paint, light };
}
