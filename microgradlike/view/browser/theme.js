// Light or dark, as the page around is; and as wide and as high as there is room.

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

function followSize({ host, box, picture }, theme) {
  new ResizeObserver(() => { picture.fit(); theme(); }).observe(picture.element);
  const frame = host.parentElement === document.body && window.frameElement; // marimo's, which has a fixed height
  if (frame) new ResizeObserver(() => { frame.style.height = box.offsetHeight + 24 + "px"; }).observe(box);
}
