// Steps through a recorded graph: shows what `steps` in Python wrote down, or what follows from other numbers.
// All lives in a shadow root: no style or id leaks out to the page around, and none leaks in.
//
// `page` is the state, and what moves it. Every part gets it, reads it when it paints, and keeps no copy of it.

// A page that is not `alone` stands in a notebook. `told` hears of every change; `ask` gives a leaf another number
// where only Python can.

function show(host, data, rules, pictures, css, { alone, told, ask }) {
  const shadow = host.shadowRoot || host.attachShadow({ mode: "open" });
  shadow.innerHTML = "";
  const page = { host, shadow, alone, passes: readPasses(data, rules), step: 0, view: 0, chosen: null, focus: null, pace: 1.2 }; // seconds a step, played
  page.quiz = makeQuiz(page);
  page.flow = makeFlow(page);
  page.links = makeLinks(page);
  page.picture = makePicture(page, pictures);
  page.zoom = makeZoom(page, page.picture.element);
  page.staged = () => page.box.classList.contains("stage");

  page.go = (s) => {
    s = Math.max(0, Math.min(page.passes.last, Number.isFinite(s) ? s : 0));
    page.quiz.arrive(s);
    page.step = s;
    focusOn(page.passes.active(s));
    page.changed();
  };
  page.forth = () => {
    if (page.quiz.asking()) page.quiz.reveal("Shown.");
    else page.go(page.step + 1);
  };
  page.choose = (i) => {
    page.chosen = i >= 0 ? i : null;
    focusOn(page.chosen);
    page.changed();
  };
  page.open = (v, scale) => {
    page.view = v;
    page.picture.open(v, scale);
    page.changed();
  };
  page.update = (fresh, drawn) => {
    page.passes = readPasses(fresh, rules);
    pictures.splice(0, pictures.length, ...drawn);
    page.open(page.view);
  };

  // Give leaf i another number, and compute both passes anew. Return whether that was possible.
  page.set = (i, number) => {
    const why = page.passes.whyFixed(i);
    if (why && ask) ask(i, number);
    else if (why) page.say(why);
    else move(new Map(page.passes.leaves).set(i, number));
    return !why;
  };
  page.reset = () => move(new Map());
  function move(leaves) {
    page.passes.move(leaves);
    page.changed();
  }

  // What a link holds: the leaves with other numbers than recorded, and what is shown.
  page.state = () => {
    const { step, view, chosen, focus, passes, flow } = page;
    return { leaves: new Map(passes.leaves), step, view, chosen, focus, sizes: flow.tints.checked };
  };
  page.restore = ({ leaves, step, view, chosen, focus, sizes }) => {
    page.flow.tints.checked = sizes;
    page.passes.move(leaves);
    if (view !== page.view) page.picture.open(page.view = view);
    page.chosen = chosen;
    page.go(step);
    if (focus === null || focus === page.focus) return;
    page.focus = focus;
    page.changed();
  };
  page.changed = () => {
    page.paint();
    link.tell();
    if (told) told(page.state());
  };
  page.paint = () => {
    for (const part of [page.picture, bars, now, leaves, ledger, matrix, stage]) part.paint();
    page.links.paint();
  };
  function focusOn(node) {
    const layer = page.passes.layerOf(node);
    if (layer >= 0) page.focus = layer;
  }

  const bars = makeBars(page), now = makeStepPanel(page), ledger = makeLedgerPanel(page), matrix = makeMatrixPanel(page);
  const leaves = makeLeaves(page, !!ask), link = makeLink(page);
  ledger.element.append(leaves.one);
  const stage = makeStage(page);
  page.say = now.say;
  page.tell = (...said) => now.element.append(...said);
  page.box = el("div", { class: alone ? "box stage" : "box", role: "group", "aria-label": data.title },
    el("div", { class: "view" }, el("div", { class: "top" }, stage.header, stage.tools),
      data.note ? el("p", { class: "note" }, data.note) : null, page.picture.element,
      el("div", { class: "panels" + (data.layers.length ? " layered" : "") }, now.element, ledger.element, matrix.element),
      el("div", { class: "bars" }, bars.elements, link.element), leaves.element, stage.legend),
    now.spoken, makeListOfSteps(page), stage.keys);
  shadow.append(el("style", {}, css), page.box);
  page.links.listen();
  listenToKeys(page, bars.play, stage);
  const theme = followTheme(page);
  page.picture.open(0);
  link.follow();
  followSize(page, theme, stage);
  return page;
}
