// Elements. Text is only ever set as text, whatever a label holds.

function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child != null));
  return made;
}

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function button(sign, name, act, more) {
  return el("button", { type: "button", "aria-label": name, title: name, onclick: act, ...more }, sign);
}

function as(role, ...text) {
  return el("b", { class: role }, ...text);
}

function write(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

function count(n, what) {
  return n + " " + what + (n === 1 ? "" : "s");
}

// The first of the items, written by `make`; the others when somebody wants to see them.
function few(items, make, most = 8) {
  if (items.length <= most + 1) return items.map(make);
  const more = el("details", { ontoggle: () => { if (more.children.length === 1) more.append(...items.slice(most).map(make)); } },
    el("summary", {}, count(items.length - most, "more input")));
  return [...items.slice(0, most).map(make), more];
}
