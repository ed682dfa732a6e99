// How large the picture is and which part of it is seen: fitted to its room, or as somebody zooms and drags it.

function makeZoom(page, element) {
  const MOST = 16; // pixels for one point of the drawing
  let wish = null, scale = 1, whole = 1, fitted = 1; // `wish`: the scale that somebody asked for
  let drag = null, pinch = null, dragged = false;
  const drawing = () => element.querySelector("svg");

  // Fit the picture to its room, or keep it at a scale.
  function fit(kept) {
    const svg = drawing(), room = element.clientWidth - 4;
    if (!svg || room <= 0) return;
    const { width, height } = svg.viewBox.baseVal, stage = page.staged(), high = element.clientHeight - 4;
    whole = stage ? Math.min(room / width, high / height) : room / width;
    const least = room < 600 ? 1.35 : stage && whole > Math.max(0.75, Math.min(1, room / 1680)) ? whole : 1; // to be readable
    fitted = Math.max(least, Math.min(stage ? Math.max(2, high / 100) : 1.35, whole));
    scale = Math.max(Math.min(whole, fitted), Math.min(MOST, wish ?? kept ?? fitted));
    svg.style.width = width * scale + "px";
    svg.style.height = height * scale + "px";
    element.style.height = stage ? "" : height * fitted + (width * fitted > room ? 18 : 2) + "px";
  }

  // Zoom so that what is at a point of the window stays there.
  function by(factor, x, y) {
    const svg = drawing(), outer = element.getBoundingClientRect(), before = svg.getBoundingClientRect();
    x ??= outer.left + outer.width / 2;
    y ??= outer.top + outer.height / 2;
    wish = Math.max(Math.min(whole, fitted), Math.min(MOST, scale * factor));
    fit();
    const after = svg.getBoundingClientRect();
    element.scrollLeft += after.left + (x - before.left) / before.width * after.width - x;
    element.scrollTop += after.top + (y - before.top) / before.height * after.height - y;
  }

  // As large as fits, yet readable; from there the whole, however small.
  function reset() {
    wish = wish === null && whole < fitted ? whole : null;
    fit();
    page.picture.follow();
  }

  // Scroll so that what was at one place and is now at another has its middle where it was.
  function move(from, to) {
    element.scrollLeft += to.left + to.width / 2 - from.left - from.width / 2;
    element.scrollTop += to.top + to.height / 2 - from.top - from.height / 2;
  }

  // Scroll to where something happens, if it is not all in sight; to the first of it and what is beside it, if there is no room for all.
  function show(drawn, behavior = "auto") {
    if (!drawn.length) return;
    const outer = element.getBoundingClientRect(), boxes = drawn.map((each) => each.getBoundingClientRect());
    const scrolled = (start, end, size) => {
      let from = Math.min(...boxes.map((box) => box[start])), to = Math.max(...boxes.map((box) => box[end]));
      const room = outer[size] - 32, first = boxes[0];
      if (to - from > room)
        [from, to] = first[start] - from > to - first[end] ? [first[end] - room, first[end]] : [first[start], first[start] + room];
      return from < outer[start] + 8 || to > outer[end] - 8 ? (from + to - outer[start] - outer[end]) / 2 : 0;
    };
    element.scrollBy({ left: scrolled("left", "right", "width"), top: scrolled("top", "bottom", "height"), behavior });
  }

  element.addEventListener("wheel", (event) => { // a trackpad's pinch comes as a wheel with ctrl
    if (!event.ctrlKey) return;
    event.preventDefault();
    by(Math.exp(-Math.max(-50, Math.min(50, event.deltaY)) / 150), event.clientX, event.clientY);
  }, { passive: false });
  const fingers = ([a, b]) => ({ x: (a.clientX + b.clientX) / 2, y: (a.clientY + b.clientY) / 2,
    apart: Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY) });
  element.addEventListener("touchmove", (event) => {
    if (event.touches.length !== 2) return;
    event.preventDefault();
    const now = fingers(event.touches);
    if (pinch) {
      by(now.apart / pinch.apart, now.x, now.y);
      element.scrollLeft -= now.x - pinch.x;
      element.scrollTop -= now.y - pinch.y;
    }
    pinch = now;
  }, { passive: false });
  element.addEventListener("touchend", () => { pinch = null; });
  element.addEventListener("pointerdown", ({ pointerType, button, clientX, clientY }) => {
    dragged = false;
    if (pointerType !== "touch" && button === 0)
      drag = { x: clientX + element.scrollLeft, y: clientY + element.scrollTop, clientX, clientY };
  });
  element.addEventListener("pointermove", (event) => {
    if (!drag) return;
    dragged ||= Math.hypot(event.clientX - drag.clientX, event.clientY - drag.clientY) > 4;
    if (!dragged) return;
    element.setPointerCapture(event.pointerId);
    element.scrollLeft = drag.x - event.clientX;
    element.scrollTop = drag.y - event.clientY;
  });
  for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, () => { drag = null; });
  element.addEventListener("click", (event) => { if (dragged) event.stopPropagation(); }, true);

  return { fit, by, reset, show, move, scale: () => scale };
}
