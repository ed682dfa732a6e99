// The flow of the backward pass: along each edge goes a chip with upstream × local = product, and joins the sum at its
// end. Who wants less motion sees the chips stand on their edges. And the switch that shows sizes and signs.

function makeFlow(page) {
  const MOST = 8; // so many chips at a time can be followed; all arrive before the next step is played
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const tints = el("input", { type: "checkbox", onchange: () => page.changed() });
  let current = ""; // the step, the view and the numbers whose chips are shown
  let before = 0; // the step that was shown before
  let held = new Map(); // what stands in the nodes that chips are on their way to
  let moving = [], arrived = 0;
  let layer = null, covered = []; // the numbers that chips stand on

  function terms() {
    const { passes, step, quiz } = page;
    return step > passes.seed && !quiz.asking() ? passes.wanted(passes.chainRule(step).terms) : [];
  }
  const gradient = (i) => held.get(i) ?? page.quiz.gradient(i);

  // Before the picture is painted: is there something to move?
  function begin() {
    const now = terms(), key = [page.step, page.view, ...now.map((term) => term.after)].join(" ");
    if (key === current && layer?.isConnected) return;
    stop();
    const follows = page.step === before + 1 || page.step === before && current.startsWith("?");
    current = page.quiz.asking() ? "?" : key;
    before = page.step;
    layer = page.picture.layer();
    if (!layer) return;
    const runs = follows && !still.matches, ways = new Map(); // the terms by the element of their edge, or by themselves
    for (const term of now) {
      const drawn = page.picture.edge(term.node, term.position) || term;
      ways.set(drawn, [...(ways.get(drawn) || []), term]);
    }
    let n = 0;
    const middles = [];
    for (const along of ways.values()) {
      const way = n < MOST && page.picture.way(along[0].node, along[0].position);
      if (way && (runs || still.matches)) {
        const [x, y] = way(0.5), beside = 26 * middles.filter(([u, v]) => Math.hypot(u - x, v - y) < 12).length; // of e·e
        middles.push([x, y]);
        send(along, (t) => [way(t)[0], way(t)[1] + beside], runs ? n : null);
      } else along.forEach(join);
      n += 1;
    }
  }

  // Send a chip on its way, the n-th; or let it stand there.
  function send(along, way, n) {
    const [{ upstream, local, product }] = along;
    const parts = [`${upstream} × ${local}`, "= " + product], within = !page.picture.edge(along[0].node, along[0].position)?.line;
    const chip = label("chip", along.length > 1 ? [along.length + " products"] : within ? [parts.join(" ")] : parts);
    if (n === null) {
      const [x, y] = way(within ? 0 : 0.5); // within a box there is room by the local derivative only
      layer.append(place(chip, [within ? x + chip.firstChild.getAttribute("width") / 2 - 24 : x, y]));
      covered.push(...along.map((term) => page.picture.edge(term.node, term.position)?.label).filter(Boolean));
      for (const each of covered) each.style.visibility = "hidden"; // they stand in the chip as well
      along.forEach(join);
      return;
    }
    for (const term of along) if (!held.has(term.input)) held.set(term.input, term.before ?? "–");
    layer.append(chip);
    const places = Array.from({ length: 21 }, (_, k) => way(k / 20).map((x) => x.toFixed(1) + "px").join());
    const run = chip.animate(places.map((each) => ({ transform: `translate(${each})` })),
      { duration: 500 * page.pace, delay: 60 * page.pace * n, easing: "ease-in-out", fill: "both" });
    run.onfinish = () => {
      chip.remove();
      for (const term of along) {
        held.set(term.input, term.after);
        join(term);
        page.picture.write(term.input);
      }
      arrived += 1;
      if (arrived < moving.length) return;
      held.clear();
      paint();
      page.picture.follow(true);
    };
    moving.push(run);
  }

  // The sum at the end of an edge, once something had arrived there before.
  function join(term) {
    const id = "sum" + term.input, end = term.before !== null && page.picture.end(term.input, term.node);
    if (!end) return;
    layer.querySelector("." + id)?.remove();
    layer.append(place(label("sum " + id, [`${term.before} + ${term.product} = ${term.after}`]), end));
  }

  function label(kind, lines) {
    const wide = 5.4 * Math.max(...lines.map((line) => line.length)) + 8, high = 11 * lines.length + 3;
    const text = (line, n) => svg("text", { y: 11 * n + 9.5 - high / 2, "text-anchor": "middle" }, line);
    return svg("g", { class: kind }, svg("rect", { x: -wide / 2, y: -high / 2, width: wide, height: high, rx: 4 }), ...lines.map(text));
  }

  function place(made, [x, y]) {
    made.setAttribute("transform", `translate(${x} ${y})`);
    return made;
  }

  function stop() {
    for (const run of moving) run.cancel();
    for (const each of covered) each.style.visibility = "";
    covered = [];
    moving = [];
    arrived = 0;
    held = new Map();
    layer?.remove();
  }

  function pause(on) {
    for (const run of moving) if (run.playState !== "finished") run[on ? "pause" : "play"]();
  }

  // Width and colour by the size and the sign of what flows, against the largest of all; a colour for each sign.
  function paint() {
    const { passes, step, picture } = page, on = tints.checked && step >= passes.seed;
    picture.element.classList.toggle("tinted", on);
    if (!on) return;
    let most = 0;
    for (const i of passes.nodes.keys()) if (picture.drawn(i)) most = Math.max(most, Math.abs(passes.gradientValue(i, passes.last)) || 0);
    const sizes = new Map(), show = (drawn, number) => { // what stands for several shows the largest
      if (drawn && !(Math.abs(sizes.get(drawn)) >= Math.abs(number))) sizes.set(drawn, number);
    };
    passes.nodes.forEach((node, i) => {
      if (node.constant || !picture.drawn(i)) return;
      const hidden = held.has(i) || page.quiz.hides(i);
      show(picture.drawn(i), hidden ? 0 : passes.gradientValue(i, step) ?? 0);
      for (const [at, term] of passes.ledger[i]) show(picture.edge(term.node, term.position), at <= step && !hidden ? term.numbers.product : 0);
    });
    for (const [drawn, number] of sizes) {
      drawn.classList.toggle("plus", number > 0);
      drawn.classList.toggle("minus", number < 0);
      drawn.style.setProperty("--size", most ? Math.min(1, Math.sqrt(Math.abs(number) / most)) : 0);
    }
  }

  return { tints, gradient, begin, paint, pause };
}
