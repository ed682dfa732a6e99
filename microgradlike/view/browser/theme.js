// Light or dark, as the page around is; and as wide and as high as there is room.

// Pictures are drawn for white paper. On a dark one each colour keeps its hue, and is as dark as it was light.
function dress(svg) {
  const dark = (color, lift) => {
    const [r, g, b] = color === "white" ? [255, 255, 255] : (color.match(/^#(..)(..)(..)$/) || []).slice(1).map((each) => parseInt(each, 16));
    if (r === undefined) return color;
    const shift = 255 - Math.max(r, g, b) - Math.min(r, g, b);
    return `rgb(${[r, g, b].map((each) => Math.round((each + shift) * (1 - lift) + 255 * lift))})`;
  };
  for (const each of svg.querySelectorAll("[fill], [stroke]"))
    for (const name of ["fill", "stroke"])
      if (each.hasAttribute(name)) each.style.setProperty("--" + name, dark(each.getAttribute(name), each.tagName === "text" ? 0.2 : 0.08));
}

function followTheme({ host, box, alone }) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const dot = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  function rgba(color) { // however the style sheet writes it
    dot.clearRect(0, 0, 1, 1);
    dot.fillStyle = color;
    dot.fillRect(0, 0, 1, 1);
    return dot.getImageData(0, 0, 1, 1).data;
  }
  function theme() {
    let light = dark.matches ? 0 : 255;
    for (let around = alone ? null : host; around instanceof Element; around = around.parentElement || around.getRootNode().host) {
      const [r, g, b, a] = rgba(getComputedStyle(around).backgroundColor);
      if (a > 127) {
        light = 0.3 * r + 0.59 * g + 0.11 * b;
        break;
      }
    }
    box.classList.toggle("dark", light < 128);
  }
  dark.addEventListener("change", () => setTimeout(theme, 50));
  host.addEventListener("pointerenter", theme);
  theme();
  return theme;
}

function followSize({ host, box, shadow, alone, zoom, picture }, theme, stage) {
  const fit = () => { zoom.fit(); picture.follow(); stage.paint(); theme(); };
  new ResizeObserver(fit).observe(picture.element);
  box.addEventListener("fullscreenchange", () => {
    box.classList.toggle("stage", alone || shadow.fullscreenElement === box);
    fit();
  });
  const frame = host.parentElement === document.body && window.frameElement; // marimo's, which has a fixed height
  if (frame) new ResizeObserver(() => { frame.style.height = box.offsetHeight + 24 + "px"; }).observe(box);
}
