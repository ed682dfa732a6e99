// The picture: which element stands for a node, whether a closed box holds it or not, and what is marked in it.

// All pictures, given the first and the parts of the others.
function joinPictures(first, [more, ...others]) {
  const parts = [...new Set(first.split("</g>")), ...more];
  return [first, ...others.map((numbers) => numbers.map((n) => parts[n]).join("</g>"))];
}

function makePicture(page, pictures) {
  const element = el("div", { class: "picture", tabindex: 0, role: "group", "aria-label": "Graph. Down and up: from node to node" });
  let ids = new Map(); // the elements of this picture
  let boxes = []; // for each node its element, or the closed box around it
  let stands = []; // the same, but the row of its own in a closed box that has one
  let edges = new Map(); // the element of each edge i_k; of several between two boxes, one stands for all
  let lines = new Set(); // these elements
  let texts = new Map(); // for each node the elements of its data and of its gradient
  let marked = [];

  function open(v, scale) {
    const { id: prefix, nodes, groups, views } = page.passes;
    element.innerHTML = pictures[v];
    dress(element.firstElementChild);
    ids = new Map([...element.querySelectorAll("[id]")].map((each) => [each.id.slice(prefix.length + 1), each]));
    texts = new Map();
    const closed = new Set(views[v].closed);
    boxes = nodes.map((node, i) => {
      let box = null;
      for (let g = node.group; g !== undefined; g = groups[g].parent) if (closed.has(g)) box = g;
      return ids.get(box === null ? "n" + i : "c" + box);
    });
    stands = nodes.map((_, i) => ids.get("n" + i) || boxes[i]);
    nodes.forEach((node, i) => {
      if (stands[i]) link(stands[i], "node", i);
      const drawn = ids.get("n" + i);
      if (!drawn) return;
      write(drawn.querySelector("title"), node.name + (node.made ? " = " + node.made : ""));
      const written = [...drawn.querySelectorAll(":scope > text")];
      texts.set(i, node.constant ? [written.at(-1)] : written.slice(-2));
    });
    groups.forEach((group, g) => {
      const drawn = ids.get("c" + g);
      if (!drawn) return;
      const written = [...drawn.querySelectorAll(":scope > text")];
      if (!closed.has(g) && written.length && views.some((each) => each.closed.includes(g))) written[0].textContent += " ▾";
    });
    joinEdges(page.passes);
    page.zoom.fit(scale);
  }

  function joinEdges(passes) {
    const { nodes } = passes, between = new Map(), ends = (i, k) => boxes[nodes[i].drawn[k]]?.id + ">" + boxes[i]?.id;
    edges = new Map();
    for (const [id, drawn] of ids) {
      const [, i, k] = /^e(\d+)_(\d+)$/.exec(id) || [];
      if (i === undefined) continue;
      edges.set(i + "_" + k, drawn);
      if (boxes[i] !== ids.get("n" + i) || boxes[nodes[i].drawn[k]] !== ids.get("n" + nodes[i].drawn[k])) between.set(ends(i, k), drawn);
      drawn.target = +i;
      drawn.position = +k;
      drawn.label = drawn.querySelector(":scope > text");
      drawn.sign = drawn.label?.textContent.replace(/\S*$/, ""); // which number it is
      const { x, width } = drawn.label && drawn.querySelector(":scope > path") ? drawn.label.getBBox() : {}; // not in a row
      if (width) for (const [name, at] of [["x", x + width / 2], ["text-anchor", "middle"]]) drawn.label.setAttribute(name, at);
    }
    nodes.forEach((node, i) => boxes[i] && (node.drawn || []).forEach((input, k) => {
      const drawn = edges.get(i + "_" + k) || (boxes[input] === boxes[i] ? null : between.get(ends(i, k)) || !boxes[input] && ids.get("em" + i));
      if (!drawn) return;
      edges.set(i + "_" + k, drawn);
      drawn.from = input;
      link(drawn, "edge", i + "_" + k);
      if (!nodes[input].constant) drawn.classList.add("flows");
    }));
    lines = new Set(edges.values());
    const broad = svg("g", { class: "broad" }), made = [...lines].map(turned); // all is measured before anything is added
    [...lines].forEach((drawn, n) => {
      if (made[n]) drawn.append(made[n]);
      if (drawn.line) broad.append(svg("path", { d: drawn.line.getAttribute("d"), "data-edge": drawn.dataset.edge ?? "" }));
    });
    ids.get("graph")?.prepend(broad);
  }

  function link(drawn, what, key) {
    drawn.dataset[what] = (drawn.dataset[what] ? drawn.dataset[what] + " " : "") + key;
  }

  // The head at the other end of an edge, for the backward pass, and what the hidden one leaves open.
  function turned(drawn) {
    const line = drawn.querySelector(":scope > path[fill='none']"), head = drawn.querySelector(":scope > polygon");
    drawn.line = line;
    if (!line || !head || !drawn.classList.contains("flows")) return null;
    const points = [...head.points], whole = line.getTotalLength(), end = line.getPointAtLength(whole);
    const far = (p, q) => Math.hypot(p.x - q.x, p.y - q.y);
    const tip = points.reduce((one, other) => (far(one, end) > far(other, end) ? one : other));
    const length = Math.min(far(tip, end), whole / 2), start = line.getPointAtLength(0), inner = line.getPointAtLength(length);
    const dx = (inner.x - start.x) / 3, dy = (inner.y - start.y) / 3;
    return svg("path", { class: "turned", d: `M${start.x} ${start.y} ${inner.x - dy} ${inner.y + dx} ${inner.x + dy} ${inner.y - dx}Z` +
      `M${end.x} ${end.y} ${tip.x} ${tip.y}` });
  }

  const taken = (i, k) => page.passes.nodes[i].inputs[k] === page.passes.nodes[i].drawn[k]; // by a choice
  const edge = (i, k) => (taken(i, k) ? edges.get(i + "_" + k) : undefined);

  // Does an edge with its own local derivative lead from node i to its input number k?
  const shows = (i, k) => Boolean(edge(i, k)?.label && ids.get(`e${i}_${k}`) === edge(i, k));

  // How to go from node i back to its input number k: a function from 0…1 to a place. Nothing where no way is drawn.
  function way(i, k) {
    const input = stands[page.passes.nodes[i].inputs[k]], line = edge(i, k)?.line;
    if (line) {
      const whole = line.getTotalLength();
      return (t) => { const { x, y } = line.getPointAtLength(whole * (1 - t)); return [x, y]; };
    }
    if (!input || !stands[i] || input === stands[i] || input === boxes[i]) return null;
    const [from, to] = [edge(i, k) || stands[i], input].map((each) => each.getBBox()); // a row's local derivative is beside it
    const mix = (side, size, t) => (1 - t) * (from[side] + from[size] / 2) + t * (to[side] + to[size] / 2);
    return (t) => [mix("x", "width", t), mix("y", "height", t)];
  }

  // Where the sum of a node stands, if it has a place of its own: at its foot, or above it where `from` is below it.
  function end(i, from) {
    const [box, other] = [ids.get("n" + i), stands[from]].map((each) => each?.getBBox());
    const above = other?.y > box?.y + box?.height && other.x < box.x + box.width && box.x < other.x + other.width;
    return box && [box.x + box.width / 2, above ? box.y - 4 : box.y + box.height + 4];
  }

  function layer() {
    const graph = ids.get("graph"), made = svg("g", { class: "flow", "aria-hidden": "true" });
    graph?.append(made);
    return graph && made;
  }

  function mark(drawn, ...classes) {
    if (!drawn) return;
    drawn.classList.add(...classes);
    marked.push([drawn, classes]);
  }

  function writeNode(i) {
    const [data, gradient] = texts.get(i) || [], { passes, step } = page;
    write(data, passes.known(i, step) ? passes.nodes[i].data : "–");
    write(gradient, "∇ " + page.flow.gradient(i));
    data?.classList.toggle("moved", passes.known(i, step) && passes.moved(i));
    gradient?.classList.toggle("moved", passes.gradientMoved(i, step));
  }

  function paint() {
    const { step, passes } = page, at = passes.active(step), backward = step >= passes.seed;
    page.flow.begin();
    element.classList.toggle("backward", backward);
    for (const i of texts.keys()) writeNode(i);
    for (const [drawn, classes] of marked) drawn.classList.remove(...classes);
    marked = [];
    for (const drawn of lines) {
      if (!("target" in drawn)) continue;
      drawn.classList.toggle("unknown", !passes.known(drawn.target, step) || !taken(drawn.target, drawn.position));
      if (!drawn.label) continue;
      write(drawn.label, drawn.sign + passes.localNumber(drawn.target, drawn.position));
      drawn.label.classList.toggle("moved", passes.localMoved(drawn.target, drawn.position));
    }
    if (at !== null) mark(stands[at], "active");
    if (at !== null && step < passes.seed) passes.nodes[at].inputs.forEach((_, k) => mark(edge(at, k), "along"));
    for (const term of step > passes.seed ? passes.wanted(passes.chainRule(step).terms) : []) {
      mark(edge(at, term.position), "along");
      if (stands[term.input] !== stands[at]) mark(stands[term.input], "receives");
    }
    if (page.chosen !== null) mark(stands[page.chosen], "chosen");
    page.flow.paint();
    follow();
  }

  // Keep what is at work in sight; once products have `arrived`, where they are.
  function follow(arrived) {
    const [active, receives] = [".active", ".receives"].map((what) => [...element.querySelectorAll(what)]);
    if (arrived) page.zoom.show(receives, "smooth");
    else page.zoom.show([...active, ...receives]);
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
    if (!fitting.length) return;
    const place = () => ids.get("c" + g).getBoundingClientRect(), before = place();
    page.open(fitting[0], page.zoom.scale());
    page.zoom.move(before, place()); // what is outside of it stays where it is
  }

  return { element, open, follow, paint, edge, shows, way, end, layer, write: writeNode, drawn: (i) => stands[i] };
}
