// Pictures of one size in linked views: a slider, side by side, or one alone; panned and zoomed to single pixels.

import { bitmap } from "./api.js";

const BASE = 2048; // longer side of the picture that is loaded first; what is seen larger is loaded in parts
const LARGEST = 32; // screen pixels for a pixel

/** One picture of the server: a small one of all of it, and a sharp one of what is seen. */
class Layer {
  constructor(path, width, height, redraw) {
    Object.assign(this, { path, width, height, redraw });
    this.base = null;
    this.part = null;
    this.error = null;
    this.ready = bitmap(`${path}?size=${BASE}`).then((image) => { this.base = image; redraw(); });
    this.ready.catch((error) => { this.error = error; redraw(); });
  }

  /** Loads what is seen at the resolution in which it is seen. */
  sharpen(seen, scale) {
    if (!this.base || this.base.width >= this.width || this.base.width / this.width >= scale) {
      this.part = null;
      return;
    }
    const margin = 0.15 * Math.max(seen.width, seen.height);
    const x = Math.max(0, Math.floor(seen.x - margin));
    const y = Math.max(0, Math.floor(seen.y - margin));
    const width = Math.min(this.width, Math.ceil(seen.x + seen.width + margin)) - x;
    const height = Math.min(this.height, Math.ceil(seen.y + seen.height + margin)) - y;
    if (width <= 0 || height <= 0) return;
    const wanted = Math.min(1, scale);
    const has = this.part;
    if (has && has.wanted >= wanted && has.x <= Math.max(0, seen.x) && has.y <= Math.max(0, seen.y)
      && has.x + has.width >= Math.min(this.width, seen.x + seen.width)
      && has.y + has.height >= Math.min(this.height, seen.y + seen.height)) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(async () => {
      this.abort?.abort();
      this.abort = new AbortController();
      const size = Math.max(1, Math.min(4096, Math.ceil(Math.max(width, height) * wanted)));
      try {
        const image = await bitmap(`${this.path}?x=${x}&y=${y}&width=${width}&height=${height}&size=${size}`, this.abort.signal);
        this.part = { image, x, y, width, height, wanted };
        this.redraw();
      } catch { /* a later request took its place, or the server is gone: the small picture stays */ }
    }, 120);
  }
}

/** The weights as a colour over the picture: more of it where the input counts more. */
function tinted(image) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const data = context.getImageData(0, 0, image.width, image.height);
  for (let k = 0; k < data.data.length; k += 4) {
    const weight = data.data[k];
    data.data[k] = 255;
    data.data[k + 1] = 96 + 0.45 * (255 - weight);
    data.data[k + 2] = 32;
    data.data[k + 3] = 0.72 * weight;
  }
  context.putImageData(data, 0, 0);
  return canvas;
}

export class Viewer {
  constructor(canvas, heard) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.heard = heard; // is called when zoom or divider change
    this.layers = new Map();
    this.mode = "slider";
    this.divider = 0.5;
    this.view = { scale: 1, x: 0, y: 0 }; // device pixels for a pixel, and the pixel in the middle
    this.pointers = new Map();
    this.fitted = true;
    new ResizeObserver(() => this.resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    this.listen();
  }

  /** Shows pictures of one job. sources: name -> path; weights: name -> path. */
  open(width, height, sources, weights) {
    this.width = width;
    this.height = height;
    const redraw = () => this.redraw();
    this.layers = new Map(Object.entries(sources).map(([name, path]) => [name, { path, width, height, redraw, layer: null }]));
    this.weights = weights;
    this.over = null;
    this.resize();
    this.fit();
  }

  close() {
    this.layers = new Map();
    this.left = this.right = this.over = null;
  }

  layer(name) {
    const one = this.layers.get(name);
    if (!one) return null;
    one.layer ??= new Layer(one.path, one.width, one.height, one.redraw);
    return one.layer;
  }

  /** Names of the pictures on both sides. */
  choose(left, right) {
    this.left = this.layer(left);
    this.right = this.layer(right);
    this.redraw();
  }

  /** Lays the weights of an input over the right side; "" takes them away. */
  async overlay(name) {
    this.over = null;
    this.wanted = name;
    this.redraw();
    if (!name) return;
    const image = await bitmap(`${this.weights[name]}?size=1024`);
    if (this.wanted === name) this.over = tinted(image);
    this.redraw();
  }

  get ratio() { return window.devicePixelRatio || 1; }

  resize() {
    const box = this.canvas.getBoundingClientRect();
    const width = Math.max(1, Math.round(box.width * this.ratio));
    const height = Math.max(1, Math.round(box.height * this.ratio));
    if (this.canvas.width === width && this.canvas.height === height) return;
    this.canvas.width = width;
    this.canvas.height = height;
    if (this.fitted && this.width) this.fit(); else this.redraw();
  }

  /** The areas in which pictures are drawn. */
  areas() {
    const { width, height } = this.canvas;
    if (this.mode !== "side") return [{ x: 0, y: 0, width, height }];
    const gap = Math.round(2 * this.ratio);
    if (width >= height) {
      const half = Math.floor((width - gap) / 2);
      return [{ x: 0, y: 0, width: half, height }, { x: half + gap, y: 0, width: width - half - gap, height }];
    }
    const half = Math.floor((height - gap) / 2);
    return [{ x: 0, y: 0, width, height: half }, { x: 0, y: half + gap, width, height: height - half - gap }];
  }

  fit() {
    if (!this.width) return;
    const area = this.areas()[0];
    this.view = { scale: Math.min(area.width / this.width, area.height / this.height), x: this.width / 2, y: this.height / 2 };
    this.fitted = true;
    this.redraw();
  }

  /** Zooms to `scale`, keeping the pixel under a point of the canvas where it is. */
  zoomTo(scale, point) {
    if (!this.width) return;
    const least = Math.min(1, Math.min(this.canvas.width / this.width, this.canvas.height / this.height)) / 4;
    scale = Math.min(LARGEST, Math.max(least, scale));
    const area = this.areaAt(point);
    const dx = point ? point.x - (area.x + area.width / 2) : 0;
    const dy = point ? point.y - (area.y + area.height / 2) : 0;
    this.view.x += dx / this.view.scale - dx / scale;
    this.view.y += dy / this.view.scale - dy / scale;
    this.view.scale = scale;
    this.fitted = false;
    this.keepInside();
    this.redraw();
  }

  areaAt(point) {
    const areas = this.areas();
    return (point && areas.find((a) => point.x >= a.x && point.x < a.x + a.width && point.y >= a.y && point.y < a.y + a.height)) || areas[0];
  }

  pan(dx, dy) {
    this.view.x -= dx / this.view.scale;
    this.view.y -= dy / this.view.scale;
    this.fitted = false;
    this.keepInside();
    this.redraw();
  }

  keepInside() {
    this.view.x = Math.min(this.width, Math.max(0, this.view.x));
    this.view.y = Math.min(this.height, Math.max(0, this.view.y));
  }

  setDivider(share) {
    this.divider = Math.min(1, Math.max(0, share));
    this.redraw();
  }

  setMode(mode) {
    this.mode = mode;
    if (this.fitted) this.fit(); else this.redraw();
  }

  redraw() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      this.draw();
      this.heard();
    });
  }

  draw() {
    const { context, canvas } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.width || !this.right) return;
    const [first, second] = this.areas();
    if (this.mode === "side") {
      this.drawLayer(this.left, first, first, false);
      this.drawLayer(this.right, second, second, true);
    } else if (this.mode === "single") {
      this.drawLayer(this.right, first, first, true);
    } else {
      const split = Math.round(first.width * this.divider);
      this.drawLayer(this.left, first, { ...first, width: split }, false);
      this.drawLayer(this.right, first, { ...first, x: split, width: first.width - split }, true);
      this.drawDivider(split, first.height);
    }
  }

  drawLayer(layer, area, clip, withWeights) {
    if (!layer || clip.width <= 0) return;
    const { context } = this;
    const { scale } = this.view;
    const x = area.x + area.width / 2 - this.view.x * scale;
    const y = area.y + area.height / 2 - this.view.y * scale;
    context.save();
    context.beginPath();
    context.rect(clip.x, clip.y, clip.width, clip.height);
    context.clip();
    context.imageSmoothingEnabled = scale < 2;
    context.imageSmoothingQuality = "high";
    const put = (image, px, py, width, height) => context.drawImage(image, x + px * scale, y + py * scale, width * scale, height * scale);
    if (layer.base) put(layer.base, 0, 0, this.width, this.height);
    if (layer.part) put(layer.part.image, layer.part.x, layer.part.y, layer.part.width, layer.part.height);
    if (withWeights && this.over) put(this.over, 0, 0, this.width, this.height);
    if (layer.error) this.say(layer.error.message, clip);
    context.restore();
    layer.sharpen({ x: (area.x - x) / scale, y: (area.y - y) / scale, width: area.width / scale, height: area.height / scale }, scale);
  }

  say(text, clip) {
    const { context, ratio } = this;
    context.fillStyle = getComputedStyle(this.canvas).color;
    context.font = `${14 * ratio}px system-ui`;
    context.fillText(text, clip.x + 12 * ratio, clip.y + 28 * ratio, clip.width - 24 * ratio);
  }

  drawDivider(split, height) {
    const { context, ratio } = this;
    context.fillStyle = "rgb(0 0 0 / .55)";
    context.fillRect(split - 1.5 * ratio, 0, 3 * ratio, height);
    context.fillStyle = "#fff";
    context.fillRect(split - 0.75 * ratio, 0, 1.5 * ratio, height);
    const radius = 15 * ratio;
    context.beginPath();
    context.arc(split, height / 2, radius, 0, 2 * Math.PI);
    context.fill();
    context.strokeStyle = "rgb(0 0 0 / .55)";
    context.lineWidth = ratio;
    context.stroke();
    context.beginPath();
    for (const side of [-1, 1]) {
      context.moveTo(split + side * 4 * ratio, height / 2 - 5 * ratio);
      context.lineTo(split + side * 9 * ratio, height / 2);
      context.lineTo(split + side * 4 * ratio, height / 2 + 5 * ratio);
    }
    context.strokeStyle = "#333";
    context.lineWidth = 2 * ratio;
    context.stroke();
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: (event.clientX - box.left) * this.ratio, y: (event.clientY - box.top) * this.ratio };
  }

  onDivider(point) {
    return this.mode === "slider" && Math.abs(point.x - this.canvas.width * this.divider) < 18 * this.ratio;
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button > 0) return;
      canvas.setPointerCapture(event.pointerId);
      const point = this.point(event);
      if (!this.pointers.size) this.dragging = this.onDivider(point) ? "divider" : "picture";
      this.pointers.set(event.pointerId, point);
    });
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const kind of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(kind, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("wheel", (event) => {
      if (!this.width) return;
      event.preventDefault();
      this.zoomTo(this.view.scale * Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), this.point(event));
    }, { passive: false });
    canvas.addEventListener("dblclick", (event) => {
      if (this.view.scale >= 1) this.fit(); else this.zoomTo(1, this.point(event));
    });
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  move(event) {
    const point = this.point(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      this.canvas.style.cursor = this.onDivider(point) ? "ew-resize" : "";
      return;
    }
    if (this.pointers.size === 2) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      const length = (p) => Math.hypot(p.x - other.x, p.y - other.y);
      this.zoomTo(this.view.scale * length(point) / Math.max(1, length(before)), { x: (point.x + other.x) / 2, y: (point.y + other.y) / 2 });
      this.pan((point.x - before.x) / 2, (point.y - before.y) / 2);
    } else if (this.dragging === "divider") {
      this.setDivider(point.x / this.canvas.width);
    } else {
      this.pan(point.x - before.x, point.y - before.y);
    }
    this.pointers.set(event.pointerId, point);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = 60 * this.ratio;
    const does = {
      ArrowLeft: () => this.pan(step, 0), ArrowRight: () => this.pan(-step, 0),
      ArrowUp: () => this.pan(0, step), ArrowDown: () => this.pan(0, -step),
      "+": () => this.zoomTo(this.view.scale * 1.25), "=": () => this.zoomTo(this.view.scale * 1.25),
      "-": () => this.zoomTo(this.view.scale / 1.25), 0: () => this.fit(), 1: () => this.zoomTo(1),
      "[": () => this.setDivider(this.divider - 0.02), "]": () => this.setDivider(this.divider + 0.02),
    }[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  }
}
