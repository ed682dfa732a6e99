// What is around the picture: the formula above it, tools to zoom and to fill the screen, the legend, and the keys.

function makeStage(page) {
  const { passes, alone, shadow } = page;
  const header = el("header", {}, el(alone ? "h1" : "h2", { class: "title" }, passes.title),
    el("p", { class: "formula", tabindex: 0 }, passes.formula.flatMap((each) => [el("span", {}, formulaOf(passes, each, [...passes.nodes.keys()])), " "])));
  const keys = el("dialog", { "aria-label": "Keys" }, el("h2", {}, "Keys"), el("table", {}, el("tbody", {}, [
    ["→ ←", "step forward, step back"], ["Home End", "first step, last step"], ["↓ ↑", "from symbol to symbol, in the panel or picture in focus"], ["Space", "play, pause"],
    ["+ − 0", "zoom in, zoom out, fit; also Ctrl and the wheel, two fingers, and dragging"], ["F", "full screen"],
    ["Esc", "close what is open"], ["?", "these keys"],
  ].map(([key, does]) => el("tr", {}, el("th", { scope: "row" }, key), el("td", {}, does))))),
  button("Close", "Close", () => keys.close()));
  const full = button("Full screen", "Full screen (F)", fill);
  full.hidden = !document.fullscreenEnabled;
  const tools = el("div", { class: "tools", role: "toolbar", "aria-label": "View" },
    button("−", "Zoom out (−)", () => page.zoom.by(0.8)), button("+", "Zoom in (+)", () => page.zoom.by(1.25)),
    button("Fit", "Fit to the window (0)", () => page.zoom.reset()), full, button("?", "Keys (?)", help));
  const sample = (mark, text) => el("li", {}, el("i", { class: "sample as-" + mark, "aria-hidden": "true" }), text);
  const signs = [sample("plus", "gradient above 0, the wider the larger"), sample("minus", "gradient below 0")];
  const legend = el("ul", { class: "legend", "aria-label": "Legend" }, sample("active", "at work in this step"),
    sample("receives", "receives a product"), sample("leaf", "leaf"), sample("constant", "constant"),
    el("li", {}, as("upstream", "∇"), " gradient"), el("li", {}, as("local", "∂ₖ"), " local derivative by input k"),
    el("li", {}, as("product", "bold"), " their product"), signs);

  function fill() {
    if (shadow.fullscreenElement) document.exitFullscreen();
    else page.box.requestFullscreen?.().catch(() => page.say("The browser allows no full screen here."));
  }

  function help() {
    if (keys.open) keys.close();
    else keys.showModal();
  }

  function paint() {
    for (const each of signs) each.hidden = !page.flow.tints.checked;
    // a part that scrolls can be reached by the keyboard
    for (const each of page.box.querySelectorAll("section, ol")) {
      const scrolls = each.scrollHeight > each.clientHeight + 1 || each.scrollWidth > each.clientWidth + 1;
      if (scrolls) each.setAttribute("tabindex", 0);
      else each.removeAttribute("tabindex");
    }
  }

  return { header, tools, legend, keys, fill, help, paint };
}
