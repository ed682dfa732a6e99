// Steps through a recorded graph: draws nothing and computes nothing, it shows what `steps` in Python wrote down.
// All lives in a shadow root: no style or id leaks out to the page around, and none leaks in.
//
// `page` is the state, and what moves it. Every part gets it, reads it when it paints, and keeps no copy of it.

function show(host, data, pictures, css, alone, stepped, moved) {
  const shadow = host.shadowRoot || host.attachShadow({ mode: "open" });
  shadow.innerHTML = "";
  const page = { host, shadow, alone, passes: readPasses(data), step: 0, view: 0, chosen: null, focus: null, pace: 1.2 }; // seconds a step, played
  page.quiz = makeQuiz(page);
  page.picture = makePicture(page, pictures);
  page.zoom = makeZoom(page, page.picture.element);
  page.staged = () => page.box.classList.contains("stage");

  page.go = (s) => {
    s = Math.max(0, Math.min(page.passes.last, Number.isFinite(s) ? s : 0));
    page.quiz.arrive(s);
    page.step = s;
    focusOn(page.passes.active(s));
    page.paint();
    if (alone) history.replaceState(null, "", "#step=" + s);
    if (stepped) stepped(s);
  };
  page.forth = () => {
    if (page.quiz.asking()) page.quiz.reveal("Shown.");
    else page.go(page.step + 1);
  };
  page.choose = (i) => {
    page.chosen = i >= 0 ? i : null;
    focusOn(page.chosen);
    page.paint();
  };
  page.open = (v) => {
    page.view = v;
    page.picture.open(v);
    page.paint();
  };
  page.update = (fresh) => {
    page.passes = readPasses(fresh);
    page.open(page.view);
  };
  page.paint = () => {
    for (const part of [page.picture, bars, now, ledger, matrix, stage]) part.paint();
  };
  function focusOn(node) {
    const layer = page.passes.layerOf(node);
    if (layer >= 0) page.focus = layer;
  }

  const bars = makeBars(page), now = makeStepPanel(page), ledger = makeLedgerPanel(page), matrix = makeMatrixPanel(page);
  const stage = makeStage(page);
  page.say = now.say;
  page.tell = (...said) => now.element.append(...said);
  page.box = el("div", { class: alone ? "box stage" : "box", role: "group", "aria-label": data.title },
    el("div", { class: "view" }, el("div", { class: "top" }, stage.header, stage.tools),
      data.note ? el("p", { class: "note" }, data.note) : null, page.picture.element,
      el("div", { class: "panels" + (data.layers.length ? " layered" : "") }, now.element, ledger.element, matrix.element),
      el("div", { class: "bars" }, bars.elements), makeLeaves(page, moved), stage.legend),
    now.spoken, makeListOfSteps(page), stage.keys);
  shadow.append(el("style", {}, css), page.box);
  listenToKeys(page, bars.play, stage);
  const theme = followTheme(page);
  page.open(0);
  followAddress(page);
  followSize(page, theme, stage);
  return page;
}
