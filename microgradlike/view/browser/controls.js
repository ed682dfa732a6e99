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
      passes.views.length > 1 ? el("label", {}, "Show ", views) : null, el("label", {}, "Ledger of ", ledgers)),
  ];

  function play(on = timer === null) {
    clearInterval(timer);
    timer = null;
    if (on) {
      if (page.step === page.passes.last) page.go(0);
      timer = setInterval(() => {
        if (!page.host.isConnected || page.step === page.passes.last || quiz.asking()) play(false);
        else page.go(page.step + 1);
      }, page.pace * 1000);
    }
    playing.textContent = on ? "⏸ Pause" : "▶ Play";
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
  }

  return { elements, play, paint };
}

// What if a leaf had another number? Only where Python is there to answer: `moved` asks it.
function makeLeaves(page, moved) {
  if (!moved) return null;
  const leaves = page.passes.nodes.map((node, i) => [node, i]).filter(([node, i]) =>
    !node.inputs && !node.constant && page.passes.shown[i]);
  return el("details", { class: "leaves", open: leaves.length <= 8 }, el("summary", {}, "What if a leaf had another number?"),
    leaves.map(([node, i]) => {
      const start = +node.data, reach = Math.max(2, 2 * Math.abs(start)) || 2;
      const range = el("input", { type: "range", min: -reach, max: reach, step: "any", value: start, "aria-label": node.name });
      const typed = el("input", { type: "number", step: "any", value: start, "aria-label": node.name + " as a number" });
      range.addEventListener("input", () => { typed.value = (+range.value).toPrecision(3); moved(i, +typed.value); });
      typed.addEventListener("input", () => { if (typed.value !== "") { range.value = typed.value; moved(i, +typed.value); } });
      return el("label", {}, as("", node.name), range, typed);
    }));
}
