// Keys.

function listenToKeys(page, play, stage) {
  (page.alone ? document : page.shadow).addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.composedPath()[0];
    const typing = target.matches?.("input:not([type=range]):not([type=checkbox]), select, textarea, [contenteditable]");
    const slides = target.type === "range";
    const act = { ArrowRight: page.forth, ArrowLeft: () => page.go(page.step - 1), Home: () => page.go(0),
      End: () => page.go(page.passes.last), " ": () => play(), "+": () => page.zoom.by(1.25), "=": () => page.zoom.by(1.25),
      "-": () => page.zoom.by(0.8), 0: page.zoom.reset, f: stage.fill, "?": stage.help,
      Escape: page.chosen !== null && (() => page.choose(-1)) }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act || typing || stage.keys.open && event.key !== "?" || (slides && /^(Arrow|Home|End)/.test(event.key))) return;
    if (event.key === " " && target.matches?.("button, summary, input[type=checkbox]")) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  });
}
