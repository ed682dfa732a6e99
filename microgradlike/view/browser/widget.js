// The page as an anywidget: its step and the numbers of its leaves are traits, which Python reads and writes. The page
// computes by itself. Where a rule runs in Python only, Python answers with new data.

export default {
  render({ model, el }) {
    const host = document.createElement("div");
    host.dataset.lmSuppressShortcuts = "true";
    el.append(host);
    const numbers = () => new Map(Object.entries(model.get("numbers")).map(([i, x]) => [+i, readNumber(x)]));
    const send = (name, value) => { model.set(name, value); model.save_changes(); };
    const sendNumbers = (next) => {
      const after = [...numbers()].map(([i, x]) => [i, x, next(i, x)]);
      if (after.some(([, old, x]) => !Object.is(old, x)))
        send("numbers", Object.fromEntries(after.map(([i, , x]) => [i, writeNumber(x)])));
    };
    let page = null;
    const told = ({ step, leaves }) => {
      if (page === null) return;
      if (model.get("step") !== step) send("step", step);
      sendNumbers((i, x) => (page.passes.whyFixed(i) ? x : leaves.get(i) ?? page.passes.recorded[i])); // that is Python's
    };
    const ask = (leaf, number) => sendNumbers((i, x) => (i === leaf ? number : x));
    page = show(host, model.get("data"), RULES, model.get("pictures"), CSS, { told, ask });
    const follow = () => page.restore({ ...page.state(), step: model.get("step"), leaves: numbers() });
    follow();
    model.on("change:step", follow);
    model.on("change:numbers", follow);
    model.on("change:data", () => page.update(model.get("data"), model.get("pictures")));
  },
};
