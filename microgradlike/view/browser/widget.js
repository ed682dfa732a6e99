// The page as an anywidget: its step and the numbers of its leaves are traits, which Python reads and writes.

export default {
  render({ model, el }) {
    const host = document.createElement("div");
    host.dataset.lmSuppressShortcuts = "true";
    el.append(host);
    const stepped = (step) => { model.set("step", step); model.save_changes(); };
    const moved = (leaf, number) => { model.set("numbers", { ...model.get("numbers"), [leaf]: number }); model.save_changes(); };
    const page = show(host, model.get("data"), model.get("pictures"), CSS, false, stepped, moved);
    page.go(model.get("step"));
    model.on("change:step", () => { if (page.step !== model.get("step")) page.go(model.get("step")); });
    model.on("change:data", () => page.update(model.get("data")));
  },
};
