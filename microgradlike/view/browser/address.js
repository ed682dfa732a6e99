// The state of the page as the end of a link: #step=7&view=1&node=3&n0=-2, where n0 is the leaf of the node with that id.
// What stands there is anybody's text: what is no number, or names nothing there is, counts for nothing.

function writeState({ leaves, step, view, chosen, focus, sizes }) {
  const entries = [["step", step], ["view", view || null], ["node", chosen], ["layer", focus], ["sizes", sizes ? 1 : null],
    ...[...leaves].map(([i, x]) => ["n" + i, writeNumber(x)])];
  return "#" + entries.filter(([, value]) => value !== null).map((entry) => entry.join("=")).join("&");
}

function readState(text, passes) {
  const given = new Map(text.slice(text.indexOf("#") + 1).split("&").map((entry) => entry.split("=")));
  const index = (name, length, without) => {
    const found = /^\d{1,9}$/.test(given.get(name)) ? +given.get(name) : without;
    return found < length ? found : without;
  };
  const leaves = new Map();
  for (const [name, value] of given) {
    const [, i] = /^n(\d{1,9})$/.exec(name) || [], number = readNumber(value);
    if (i !== undefined && number !== null) leaves.set(+i, number);
  }
  const step = /^\d{1,9}$/.test(given.get("step")) ? +given.get("step") : 0;
  return { leaves, step: Math.min(step, passes.last), view: index("view", passes.views.length, 0),
    chosen: index("node", passes.nodes.length, null), focus: index("layer", passes.layers.length, null),
    sizes: given.get("sizes") === "1" };
}

// A page of its own has its state in its address. One in a notebook, whose address is not its own, shows it in a
// field, from which it is copied and into which it is pasted.
function makeLink(page) {
  let late = null; // browsers refuse to write an address at every move of a pointer
  const restore = (text) => page.restore(readState(text, page.passes));
  const field = el("input", { type: "text", class: "link", spellcheck: "false", autocomplete: "off", "aria-label": page.alone
    ? "Link to what is shown" : "What is shown: copy it, or paste another", readonly: page.alone,
    onchange: () => restore(field.value), onfocus: () => field.select() });
  const label = page.alone ? "Copy link" : "Copy state";
  const copy = button(label, "Copy what is shown as " + (page.alone ? "a link" : "a text"), async () => {
    tell();
    const copied = await navigator.clipboard?.writeText(field.value).then(() => true, () => false);
    if (!copied) field.hidden = false; // for who copies by hand
    field.select();
    write(copy, copied || document.execCommand("copy") ? "Copied" : "Copy the text");
    setTimeout(() => write(copy, label), 1500);
  });
  field.hidden = page.alone;

  function tell() {
    const text = writeState(page.state());
    field.value = page.alone ? location.href.replace(/#.*$/s, "") + text : text;
    clearTimeout(late);
    if (page.alone) late = setTimeout(() => history.replaceState(null, "", text), 300);
  }

  function follow() {
    restore(page.alone ? location.hash : "");
    if (page.alone) addEventListener("hashchange", () => {
      if (location.hash !== writeState(page.state())) restore(location.hash);
    });
  }

  return { element: el("div", { class: "bar" }, copy, field), tell, follow };
}
