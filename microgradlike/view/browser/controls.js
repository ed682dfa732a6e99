// What is above the picture, to step, to play and to choose what is shown; and below it the numbers of the leaves.

function makeBars(page) {
  const { passes, quiz } = page;
  let timer = null;
  const option = (value, text) => el("option", { value }, text);
  const slider = el("input", { type: "range", min: 0, "aria-label": "Step", oninput: () => page.go(+slider.value) });
  const playing = button("▶ Play", "Play", () => play());
  const place = el("output", { class: "place" });
  const pace = el("select", { "aria-label": "Pace", onchange: () => { page.pace = 1.2 / +pace.value; if (timer !== null) play(true); } },
    [[0.5, "½×"], [1, "1×"], [2, "2×"], [4, "4×"]].map(([times, text]) => option(times, text)));
  pace.value = 1;
  const views = el("select", { "aria-label": "Level of detail", onchange: () => page.open(+views.value) },
    passes.views.map((each, v) => option(v, each.name)));
  const ledgers = el("select", { "aria-label": "Show the ledger of a node", onchange: () => page.choose(+ledgers.value) },
    option(-1, "no node"), passes.nodes.map((node, i) => (passes.shown[i] && !node.constant ? option(i, node.name) : null)));
  const tabs = [["Forward", 0], ["Backward", passes.seed]].map(([name, s]) => button(`${name} pass`,
    `Go to the start of the ${name.toLowerCase()} pass`, () => page.go(s), { class: `tab ${name.toLowerCase()}` }));
  const elements = [
    el("div", { class: "bar", role: "toolbar", "aria-label": "Steps" },
      button("|◀", "First step", () => page.go(0)), button("◀", "Step back", () => page.go(page.step - 1)),
      button("▶", "Step forward", page.forth, { class: "forth" }), playing, slider, place),
    el("div", { class: "bar" }, tabs, el("label", {}, quiz.box, " Quiz"), el("label", {}, "Pace ", pace),
      el("label", { title: "Width and colour by the size and the sign of the gradient" }, page.flow.tints, " Sizes"),
      passes.views.length > 1 ? el("label", {}, "Show ", views) : null, el("label", {}, "Ledger of ", ledgers)),
  ];

  function play(on = timer === null) {
    page.flow.pause(!on);
    clearInterval(timer);
    timer = null;
    if (on) {
      if (page.step === page.passes.last) page.go(0);
      timer = setInterval(() => {
        if (!page.host.isConnected || page.step === page.passes.last || quiz.asking()) play(false);
        else page.go(page.step + 1);
      }, page.pace * 1000);
    }
    playing.textContent = on ? "❚❚ Pause" : "▶ Play";
    playing.setAttribute("aria-label", on ? "Pause" : "Play");
  }

  function paint() {
    const { step, passes } = page, { seed, last, forward, backward } = passes;
    slider.max = last;
    slider.value = step;
    slider.setAttribute("aria-valuetext", passes.sentence(step));
    place.textContent = step < seed ? `forward ${step} / ${forward.length}` : `backward ${step - seed} / ${backward.length}`;
    tabs[0].setAttribute("aria-pressed", step < seed);
    tabs[1].setAttribute("aria-pressed", step >= seed);
    views.value = page.view;
    ledgers.value = page.chosen ?? -1;
    if (ledgers.selectedIndex < 0) { // of an array, not drawn
      ledgers.append(option(page.chosen, passes.nodes[page.chosen].name));
      ledgers.value = page.chosen;
    }
  }

  return { elements, play, paint };
}

// What if a leaf had another number? A row for each leaf, to drag and to type; closed, one in the ledger of a leaf.
function makeLeaves(page, asks) {
  const leaves = page.passes.nodes.map((_, i) => i).filter((i) => page.passes.isLeaf(i) && page.passes.shown[i]);
  const back = button("All as recorded", "Give all leaves their recorded numbers", page.reset);
  const list = el("div", {}, back), one = el("div");
  const all = el("details", { open: leaves.length <= 8, ontoggle: () => paint() },
    el("summary", {}, "What if a leaf had another number?"), list);
  let rows = [], chosen = null; // made when they are first seen

  function paint() {
    if (all.open && !rows.length) {
      rows = leaves.map((i) => makeLeaf(page, i, asks));
      list.prepend(...rows.map((row) => row.element));
    }
    const i = page.passes.isLeaf(page.chosen) && !(all.open && leaves.includes(page.chosen)) ? page.chosen : null;
    if (i !== (chosen && chosen.leaf)) {
      chosen = i === null ? null : makeLeaf(page, i, asks);
      one.replaceChildren(...(chosen ? [chosen.element] : []));
    }
    for (const row of all.open ? rows : chosen ? [chosen] : []) row.paint();
    back.hidden = !page.passes.leaves.size;
  }

  return { element: leaves.length ? el("div", { class: "leaves" }, all) : null, one, paint };
}

function makeLeaf(page, i, asks) {
  const { name } = page.passes.nodes[i], start = () => page.passes.recorded[i], why = page.passes.whyFixed(i);
  const reach = Math.min(Math.max(2, 2 * Math.abs(start())) || 2, 1e300), disabled = !!why && !asks;
  const dragged = () => +(+range.value).toPrecision(3);
  const range = el("input", { type: "range", min: -reach, max: reach, step: "any", "aria-label": name, disabled,
    oninput: () => page.set(i, dragged()) });
  const typed = el("input", { type: "text", autocomplete: "off", spellcheck: "false", disabled,
    "aria-label": name + " as a number", oninput: read, onchange: show });
  const was = button("", "Give " + name + " its recorded number", () => page.set(i, start()));
  const said = el("span", { class: "dim", role: "status" }, disabled ? why : "");
  const element = el("div", { class: "number" }, el("label", {}, as("", name), range), typed, was, said);

  function read() {
    const number = readNumber(typed.value);
    hint(number === null ? "a number, such as -0.25, 1e-3, inf or nan" : "");
    if (number !== null) page.set(i, number);
  }

  function hint(text) {
    typed.setAttribute("aria-invalid", text !== "");
    typed.style.width = typed.value.length + 4 + "ch"; // nothing is cut off
    if (!disabled) write(said, text);
  }

  function show() {
    typed.value = writeNumber(page.passes.nodes[i].value);
    hint("");
  }

  function paint() {
    const { value } = page.passes.nodes[i], moved = page.passes.moved(i);
    if (dragged() !== value) range.value = value || 0;
    if (page.shadow.activeElement !== typed) show();
    element.classList.toggle("moved", moved);
    was.hidden = !moved;
    write(was, "was " + formatNumber(start()));
  }

  return { leaf: i, element, paint };
}
