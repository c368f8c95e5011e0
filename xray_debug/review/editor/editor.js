// The film with its boxes. Boxes are [x0, y0, x1, y1] in whole pixels of the original film, x1 and y1 exclusive.
// The server sends one packet a case: a header, the film, the heat over it and what cleaning would change (`packet` of
// pages/editor.py). What a person changes goes back as the state "edit". Zoom, grey values and heat stay in the browser.

const COLOURS = { text: "#ff40c8", chosen: "#ffe14d", other: "#35d0ff" };
const HANDLE = 7; // CSS pixels around an edge that take hold of it
const SMALLEST = 3; // CSS pixels: a shorter drag is a click
const PIXELS_SEEN = 4; // times enlarged, from where single pixels are shown as squares
const DECIDING = new Set(["a", "x", "s", "e", "u", "y"]);
const HELP = [
  ["A", "approve the boxes shown"], ["X", "reject: leave the film as it is"], ["S", "save the boxes as corrected"],
  ["E", "exclude the image from the cleaned data"], ["U", "undo; changed boxes first"], ["Y", "redo"], ["← →", "case before, after"],
  ["N", "next undecided case"], ["/", "search by name"], ["V", "hold: the cleaned film"], ["H", "heat on and off"],
  ["B", "boxes on and off"], ["D", "new box"], ["Tab [ ]", "choose a box"], ["Arrows", "move the chosen box"],
  ["Shift+arrows", "change its size"], ["Delete", "delete it"], ["Escape", "let it go"], ["0 1 + −", "zoom"], ["?", "this help"],
];
const settings = { heat: 0, lastHeat: 50, boxes: true }; // of this page, whatever the case
const editors = new WeakMap();

export default function (component) {
  const { parentElement } = component;
  let editor = editors.get(parentElement);
  if (!editor) {
    editor = new Editor(parentElement);
    editors.set(parentElement, editor);
  }
  editor.send = (value) => component.setStateValue("edit", value);
  editor.receive(component.data);
  return () => {
    editor.close();
    editors.delete(parentElement);
  };
}

const typing = (event) => {
  const at = event.composedPath()[0];
  return at instanceof HTMLElement && (at.isContentEditable || at.matches("textarea, select, input:not([type=range]):not([type=checkbox]):not([type=radio])"));
};

class Editor {
  constructor(parent) {
    this.root = parent.querySelector(".editor");
    this.canvas = parent.querySelector("canvas");
    this.context = this.canvas.getContext("2d");
    this.stage = parent.querySelector(".stage");
    this.message = parent.querySelector(".message");
    this.status = parent.querySelector("[role=status]");
    this.dialog = parent.querySelector("dialog");
    this.boxes = []; this.found = []; this.others = [];
    this.chosen = -1; this.number = 0; this.key = null; this.pointers = new Map();
    this.film = this.heat = this.patch = null;
    this.showCleaned = false; this.waiting = 0;
    this.ends = new AbortController();
    this.listen(parent);
    this.fillHelp();
  }

  close() {
    this.flush();
    this.ends.abort();
    this.watch.disconnect();
  }

  // ------------------------------------------------------------------------------------------- from the server

  async receive(data) {
    if (!(data instanceof Uint8Array) || data.length < 4) return;
    const length = new DataView(data.buffer, data.byteOffset).getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(data.subarray(4, 4 + length)));
    const part = ([start, size]) => (size ? new Blob([data.subarray(4 + length + start, 4 + length + start + size)], { type: "image/png" }) : null);
    const key = `${head.version}|${head.case}`;
    const fresh = key !== this.key;
    if (!fresh && head.edit !== this.number) return; // an answer to boxes that have changed since
    const turn = (this.turn = (this.turn || 0) + 1);
    this.root.dataset.ready = ""; // until this packet is drawn
    const decode = (blob) => (blob ? createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" }) : null);
    const [film, heat, patch] = await Promise.all([
      fresh || !this.film ? decode(part(head.film)) : this.film,
      fresh || !this.heat ? decode(part(head.heat)) : this.heat, decode(part(head.patch))]);
    const made = [film, heat, patch], had = [this.film, this.heat, this.patch];
    const release = (old, kept) => old.forEach((one) => one && !kept.includes(one) && one.close()); // tens of MB each
    if (turn !== this.turn) { release(made, had); return; } // a later packet has overtaken this one
    release(had, made);
    Object.assign(this, { film, heat, patch, patchAt: head.at, answered: head.edit });
    if (fresh) {
      const other = head.case !== this.case;
      Object.assign(this, { key, case: head.case, version: head.version, number: head.edit, boxes: head.boxes, found: head.found, stored: head.stored, others: head.others, chosen: -1, drag: null });
      if (other) {
        this.set("level", 128); this.set("window", 256);
        this.fit();
      }
    }
    this.problem = head.problem;
    this.note(head.problem);
    const has = Boolean(this.heat);
    const slider = this.root.querySelector("[data-set=heat]");
    slider.disabled = !has;
    this.root.querySelector("[data-text=heat]").textContent = has ? "Heat (H)" : head.map || "No map";
    this.canvas.setAttribute("aria-label", `Film ${head.case} with ${this.boxes.length} boxes`);
    this.draw();
    this.root.dataset.ready = key;
  }

  // ------------------------------------------------------------------------------------------- to the server

  changed(later = false) {
    this.number += 1;
    this.patch = null;
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.flush(), later ? 250 : 0);
    this.status.textContent = this.chosen < 0 ? `${this.boxes.length} boxes` : `Box ${this.boxes[this.chosen].join(", ")}`;
    this.draw();
  }

  flush() {
    if (!this.waiting) return;
    clearTimeout(this.waiting);
    this.waiting = 0;
    this.send({ case: this.case, version: this.version, number: this.number, boxes: this.boxes });
  }

  // ------------------------------------------------------------------------------------------- drawing

  fit() {
    const { width, height } = this.stage.getBoundingClientRect();
    if (!this.film || !width) return;
    this.scale = Math.min(width / this.film.width, height / this.film.height);
    this.left = (width - this.film.width * this.scale) / 2;
    this.top = (height - this.film.height * this.scale) / 2;
    this.fitted = true;
  }

  zoom(scale, x, y) {
    const { width, height } = this.stage.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    if (!this.film) return;
    const whole = Math.min(width / this.film.width, height / this.film.height);
    const next = Math.min(Math.max(scale, Math.min(whole, 1 / ratio) / 2), 40);
    this.left = x - ((x - this.left) * next) / this.scale;
    this.top = y - ((y - this.top) * next) / this.scale;
    if (next === 1 / ratio) { this.left = Math.round(this.left * ratio) / ratio; this.top = Math.round(this.top * ratio) / ratio; }
    this.scale = next;
    this.fitted = false;
    this.draw();
  }

  zoomMiddle(scale) {
    const { width, height } = this.stage.getBoundingClientRect();
    this.zoom(scale, width / 2, height / 2);
  }

  set(name, value) { this.root.querySelector(`[data-set=${name}]`).value = value; this[name] = value; this.grey = null; }

  shade(source) { // the film through window and level; untouched where both are as they were
    if (this.level === 128 && this.window === 256) return source;
    const canvas = new OffscreenCanvas(source.width, source.height);
    const context = canvas.getContext("2d");
    context.drawImage(source, 0, 0);
    const image = context.getImageData(0, 0, source.width, source.height);
    const low = this.level - this.window / 2;
    const table = Uint8ClampedArray.from({ length: 256 }, (_, v) => ((v - low) * 256) / this.window);
    const values = image.data;
    for (let i = 0; i < values.length; i += 4) { values[i] = table[values[i]]; values[i + 1] = table[values[i + 1]]; values[i + 2] = table[values[i + 2]]; }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  draw() {
    this.describe();
    if (this.planned) return;
    this.planned = requestAnimationFrame(() => { this.planned = 0; this.paint(); });
  }

  paint() {
    const { width, height } = this.stage.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== w || this.canvas.height !== h) { this.canvas.width = w; this.canvas.height = h; }
    const c = this.context;
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.clearRect(0, 0, w, h);
    if (this.film) {
      if (this.fitted !== false) { this.fit(); this.describe(); }
      c.setTransform(ratio * this.scale, 0, 0, ratio * this.scale, ratio * this.left, ratio * this.top);
      c.imageSmoothingEnabled = this.scale < PIXELS_SEEN && this.scale * ratio !== 1;
      c.imageSmoothingQuality = "high";
      if (!this.grey || this.greyOf !== this.film) { this.grey = this.shade(this.film); this.greyOf = this.film; }
      c.drawImage(this.grey, 0, 0);
      if (this.showCleaned && this.patch) c.drawImage(this.shade(this.patch), ...this.patchAt);
      if (this.heat && settings.heat > 0 && !this.showCleaned) {
        c.imageSmoothingEnabled = true;
        c.globalAlpha = settings.heat / 100;
        c.drawImage(this.heat, 0, 0, this.film.width, this.film.height);
        c.globalAlpha = 1;
      }
      if (settings.boxes && !this.showCleaned) this.paintBoxes(c, ratio);
    }
  }

  paintBoxes(c, ratio) {
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    const place = ([x0, y0, x1, y1]) => [x0 * this.scale + this.left, y0 * this.scale + this.top, (x1 - x0) * this.scale, (y1 - y0) * this.scale];
    const rectangle = (box, colour, dash = []) => {
      c.setLineDash(dash); c.lineWidth = 4; c.strokeStyle = "rgb(0 0 0 / 60%)"; c.strokeRect(...place(box));
      c.lineWidth = 2; c.strokeStyle = colour; c.strokeRect(...place(box));
    };
    for (const other of this.others) {
      rectangle(other.box, COLOURS.other, [6, 4]);
      c.font = "12px sans-serif"; c.fillStyle = COLOURS.other;
      c.fillText(other.kind, place(other.box)[0] + 3, place(other.box)[1] - 4);
    }
    this.boxes.forEach((box, index) => rectangle(box, index === this.chosen ? COLOURS.chosen : COLOURS.text));
    if (this.chosen >= 0) {
      const [x, y, w, h] = place(this.boxes[this.chosen]);
      c.setLineDash([]); c.fillStyle = COLOURS.chosen;
      for (const [px, py] of [[x, y], [x + w, y], [x, y + h], [x + w, y + h]]) c.fillRect(px - 4, py - 4, 8, 8);
    }
  }

  describe() {
    const set = this.root.dataset;
    set.boxes = JSON.stringify(this.boxes);
    set.view = JSON.stringify([this.scale, this.left, this.top]);
    set.case = this.case ?? "";
    const made = this.answered === this.number;
    set.cleaned = this.showCleaned ? (made ? "shown" : "waiting") : "";
    this.root.querySelector("[data-do=delete]").disabled = this.chosen < 0;
    this.root.querySelector("[data-do=found]").disabled = JSON.stringify(this.boxes) === JSON.stringify(this.found);
    this.root.querySelector("[data-do=cleaned]").setAttribute("aria-pressed", String(this.showCleaned));
    const label = this.root.querySelector(".shown");
    label.hidden = !this.showCleaned;
    label.textContent = made ? "Cleaned" : "Cleaning …";
  }

  note(text) { this.message.textContent = text || ""; this.message.hidden = !text; }

  // ------------------------------------------------------------------------------------------- hands

  at(event) {
    const bounds = this.canvas.getBoundingClientRect();
    return [event.clientX - bounds.left, event.clientY - bounds.top];
  }

  pixel([x, y]) { // the pixel edge nearest to a place on the screen, inside the film
    const clip = (value, most) => Math.min(Math.max(Math.round(value), 0), most);
    return [clip((x - this.left) / this.scale, this.film.width), clip((y - this.top) / this.scale, this.film.height)];
  }

  under([x, y]) { // {index, edges: which of left, top, right, bottom are held}; the chosen box first, else the smallest
    const near = (a, b) => Math.abs(a - b) <= HANDLE;
    const hit = (box) => {
      const [x0, y0, x1, y1] = [box[0] * this.scale + this.left, box[1] * this.scale + this.top, box[2] * this.scale + this.left, box[3] * this.scale + this.top];
      if (x < x0 - HANDLE || x > x1 + HANDLE || y < y0 - HANDLE || y > y1 + HANDLE) return null;
      const edges = [near(x, x0), near(y, y0), near(x, x1), near(y, y1)];
      if (edges[0] && edges[2]) edges[Math.abs(x - x0) < Math.abs(x - x1) ? 2 : 0] = false;
      if (edges[1] && edges[3]) edges[Math.abs(y - y0) < Math.abs(y - y1) ? 3 : 1] = false;
      return edges;
    };
    const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
    const order = [...this.boxes.keys()].sort((a, b) => (b === this.chosen) - (a === this.chosen) || area(this.boxes[a]) - area(this.boxes[b]));
    for (const index of order) { const edges = hit(this.boxes[index]); if (edges) return { index, edges }; }
    return null;
  }

  pressed(event) {
    if (!this.film) return;
    this.canvas.focus();
    event.preventDefault();
    const place = this.at(event);
    this.pointers.set(event.pointerId, place);
    this.canvas.setPointerCapture(event.pointerId);
    if (this.pointers.size === 2) { this.undoDrag(); this.drag = { kind: "pinch" }; return; }
    if (event.button === 1 || event.button === 2 || this.space) { this.drag = { kind: "pan", from: place }; return; }
    if (event.altKey) { this.drag = { kind: "grey", from: place, level: this.level, window: this.window }; return; }
    const before = this.boxes.map((box) => [...box]);
    const hit = settings.boxes ? this.under(place) : null;
    settings.boxes = true;
    if (hit) {
      this.chosen = hit.index;
      this.drag = { kind: hit.edges.some(Boolean) ? "resize" : "move", edges: hit.edges, from: place, start: [...this.boxes[hit.index]], before };
    } else {
      this.chosen = -1;
      this.drag = { kind: "draw", from: place, corner: this.pixel(place), before };
    }
    this.draw();
  }

  moved(event) {
    const place = this.at(event);
    if (!this.drag) { this.pointAt(place); return; }
    const last = this.pointers.get(event.pointerId);
    if (!last) return;
    if (this.drag.kind === "pinch") { this.pinch(event.pointerId, place); return; }
    this.pointers.set(event.pointerId, place);
    const drag = this.drag, [dx, dy] = [place[0] - drag.from[0], place[1] - drag.from[1]];
    if (drag.kind === "pan") { this.left += place[0] - last[0]; this.top += place[1] - last[1]; this.fitted = false; }
    if (drag.kind === "grey") this.setGrey(drag.level - dy, drag.window + dx);
    if (drag.kind === "draw" && Math.max(Math.abs(dx), Math.abs(dy)) >= SMALLEST) {
      const [x, y] = this.pixel(place), [cx, cy] = drag.corner;
      if (x !== cx && y !== cy) {
        const box = [Math.min(x, cx), Math.min(y, cy), Math.max(x, cx), Math.max(y, cy)];
        if (this.chosen < 0) { this.boxes.push(box); this.chosen = this.boxes.length - 1; } else this.boxes[this.chosen] = box;
        drag.done = true;
      }
    }
    if (drag.kind === "move") this.boxes[this.chosen] = this.shifted(drag.start, Math.round(dx / this.scale), Math.round(dy / this.scale));
    if (drag.kind === "resize") this.boxes[this.chosen] = this.resized(drag.start, drag.edges, this.pixel([place[0], place[1]]));
    this.draw();
  }

  released(event) {
    this.pointers.delete(event.pointerId);
    const drag = this.drag;
    if (drag && drag.kind === "pinch" && this.pointers.size) return;
    this.drag = null;
    if (drag && drag.before && JSON.stringify(drag.before) !== JSON.stringify(this.boxes)) this.changed();
    else this.draw();
  }

  undoDrag() {
    if (this.drag && this.drag.before) { this.boxes = this.drag.before; this.chosen = -1; }
    this.drag = null;
  }

  pinch(id, place) {
    const other = [...this.pointers.entries()].find(([key]) => key !== id)?.[1];
    if (!other) { this.pointers.set(id, place); return; } // one finger was lifted, and this one still moves
    const last = this.pointers.get(id);
    const away = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]) || 1;
    const middle = (a, b) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    const [from, to] = [middle(last, other), middle(place, other)];
    this.left += to[0] - from[0]; this.top += to[1] - from[1];
    this.pointers.set(id, place);
    this.zoom((this.scale * away(place, other)) / away(last, other), ...to);
  }

  shifted([x0, y0, x1, y1], dx, dy) {
    const clip = (value, low, high) => Math.min(Math.max(value, low), high);
    dx = clip(dx, -x0, this.film.width - x1); dy = clip(dy, -y0, this.film.height - y1);
    return [x0 + dx, y0 + dy, x1 + dx, y1 + dy];
  }

  resized(start, edges, [x, y]) {
    const box = [...start];
    if (edges[0]) box[0] = Math.min(x, box[2] - 1);
    if (edges[1]) box[1] = Math.min(y, box[3] - 1);
    if (edges[2]) box[2] = Math.max(x, box[0] + 1);
    if (edges[3]) box[3] = Math.max(y, box[1] + 1);
    return box;
  }

  pointAt(place) {
    const hit = this.film && settings.boxes ? this.under(place) : null;
    const edges = hit && hit.edges;
    let cursor = this.space ? "grab" : "crosshair";
    if (hit && !edges.some(Boolean)) cursor = "move";
    else if (hit) cursor = (edges[0] && edges[1]) || (edges[2] && edges[3]) ? "nwse-resize" : (edges[0] || edges[2]) && (edges[1] || edges[3]) ? "nesw-resize" : edges[0] || edges[2] ? "ew-resize" : "ns-resize";
    this.canvas.style.cursor = cursor;
  }

  setGrey(level, window) {
    this.set("level", Math.round(Math.min(Math.max(level, 0), 255)));
    this.set("window", Math.round(Math.min(Math.max(window, 2), 256)));
    this.draw();
  }

  // ------------------------------------------------------------------------------------------- actions and keys

  act(name) {
    const ratio = window.devicePixelRatio || 1;
    if (name === "fit") { this.fitted = true; this.fit(); }
    if (name === "one") this.zoomMiddle(1 / ratio);
    if (name === "in") this.zoomMiddle(this.scale * 1.25);
    if (name === "out") this.zoomMiddle(this.scale / 1.25);
    if (name === "add") this.add();
    if (name === "delete" && this.chosen >= 0) { this.boxes.splice(this.chosen, 1); this.chosen = -1; this.changed(); }
    if (name === "stored") { this.boxes = this.stored.map((box) => [...box]); this.chosen = -1; this.changed(); }
    if (name === "found") { this.boxes = this.found.map((box) => [...box]); this.chosen = -1; this.changed(); }
    if (name === "heat" && this.heat) this.setHeat(settings.heat ? 0 : settings.lastHeat);
    if (name === "boxes") settings.boxes = !settings.boxes;
    if (name === "help") this.dialog.open ? this.dialog.close() : this.dialog.showModal();
    if (name === "close") this.dialog.close();
    this.draw();
  }

  setHeat(value) {
    settings.heat = value;
    if (value) settings.lastHeat = value;
    this.root.querySelector("[data-set=heat]").value = value;
    this.draw();
  }

  add() {
    if (!this.film) return;
    const { width, height } = this.stage.getBoundingClientRect();
    const [x, y] = this.pixel([width / 2, height / 2]);
    const side = Math.max(1, Math.round(Math.min(this.film.width, this.film.height) / 16));
    const box = [Math.max(0, x - side), Math.max(0, y - side), Math.min(this.film.width, x + side), Math.min(this.film.height, y + side)];
    if (box[2] <= box[0] || box[3] <= box[1]) return;
    this.boxes.push(box);
    this.chosen = this.boxes.length - 1;
    this.canvas.focus();
    this.changed(true);
  }

  choose(by) {
    if (!this.boxes.length) return;
    this.chosen = this.chosen < 0 ? (by > 0 ? 0 : this.boxes.length - 1) : (this.chosen + by + this.boxes.length) % this.boxes.length;
    this.status.textContent = `Box ${this.chosen + 1} of ${this.boxes.length}: ${this.boxes[this.chosen].join(", ")}`;
    this.draw();
  }

  nudge(key, grow) {
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
    const box = this.boxes[this.chosen];
    this.boxes[this.chosen] = grow ? [box[0], box[1], Math.min(Math.max(box[2] + dx, box[0] + 1), this.film.width), Math.min(Math.max(box[3] + dy, box[1] + 1), this.film.height)] : this.shifted(box, dx, dy);
    this.changed(true);
  }

  keyed(event) { // in the capture phase: before the page's own shortcuts
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (this.dialog.open) {
      event.stopImmediatePropagation();
      if (event.key === "?") { event.preventDefault(); this.act("help"); }
      return;
    }
    if (typing(event)) {
      const field = event.composedPath()[0];
      if ((event.key === "Enter" || event.key === "Escape") && field.closest?.(".st-key-note, .st-key-search, .st-key-reviewer")) setTimeout(() => { field.blur(); this.canvas.focus({ preventScroll: true }); }, 0);
      return;
    }
    if (document.querySelector('[role="dialog"], [data-testid="stDialog"]')) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.composedPath()[0].type === "range" && key.startsWith("Arrow")) { event.stopImmediatePropagation(); return; }
    const swallow = () => { event.preventDefault(); event.stopImmediatePropagation(); };
    if (event.repeat && DECIDING.has(key)) { swallow(); return; } // a key held down decides once
    if (key === "u" && JSON.stringify(this.boxes) !== JSON.stringify(this.stored)) { swallow(); this.act("stored"); return; }
    if (DECIDING.has(key) || key === "n" || key.startsWith("Arrow")) this.flush();
    const here = event.composedPath().includes(this.canvas);
    if (here && this.chosen >= 0 && key.startsWith("Arrow")) { swallow(); this.nudge(key, event.shiftKey); return; }
    if (here && this.chosen >= 0 && (key === "Delete" || key === "Backspace")) { swallow(); this.act("delete"); return; }
    if (here && this.chosen >= 0 && key === "Escape") { swallow(); this.chosen = -1; this.draw(); return; }
    if (here && key === "Tab" && this.boxes.length && !(event.shiftKey ? this.chosen === 0 : this.chosen === this.boxes.length - 1)) { swallow(); this.choose(event.shiftKey ? -1 : 1); return; }
    if (here && key === " ") { swallow(); this.space = true; return; }
    if (key === "v") { swallow(); if (!event.repeat) this.hold(true); return; }
    const action = { "0": "fit", "1": "one", "+": "in", "=": "in", "-": "out", h: "heat", b: "boxes", d: "add", "?": "help" }[key];
    if (action) { swallow(); this.act(action); return; }
    if (key === "[" || key === "]") { swallow(); this.choose(key === "]" ? 1 : -1); return; }
    if (key === "/") { swallow(); const field = document.querySelector(".st-key-search input"); field?.focus(); field?.select(); }
  }

  hold(on) { this.flush(); this.showCleaned = on; this.draw(); }

  // ------------------------------------------------------------------------------------------- wiring

  listen(parent) {
    const options = { signal: this.ends.signal };
    const on = (target, names, act, more = {}) => names.split(" ").forEach((name) => target.addEventListener(name, act, { ...options, ...more }));
    on(this.canvas, "pointerdown", (e) => this.pressed(e));
    on(this.canvas, "pointermove", (e) => this.moved(e));
    on(this.canvas, "pointerup pointercancel", (e) => this.released(e));
    on(this.canvas, "contextmenu", (e) => e.preventDefault());
    on(this.canvas, "wheel", (e) => { e.preventDefault(); this.zoom(this.scale * Math.exp(-e.deltaY / 400), ...this.at(e)); }, { passive: false });
    on(window, "keydown", (e) => this.keyed(e), { capture: true });
    on(window, "keyup", (e) => { if (e.key.toLowerCase() === "v") this.hold(false); if (e.key === " ") this.space = false; });
    on(window, "blur", () => { this.hold(false); this.space = false; });
    on(window, "pointerdown", () => this.flush(), { capture: true });
    on(this.root, "click", (e) => { const name = e.target.closest("[data-do]")?.dataset.do; if (name && name !== "cleaned") this.act(name); });
    const button = parent.querySelector("[data-do=cleaned]");
    on(button, "pointerdown", () => this.hold(true));
    on(button, "pointerup pointerleave pointercancel blur", () => this.showCleaned && this.hold(false));
    on(button, "keydown", (e) => { if (e.key === " " || e.key === "Enter") this.hold(true); });
    on(button, "keyup", () => this.hold(false));
    for (const input of parent.querySelectorAll("[data-set]")) {
      on(input, "input", () => {
        const value = Number(input.value);
        if (input.dataset.set === "heat") this.setHeat(value);
        else { this.set(input.dataset.set, value); this.draw(); }
      });
      on(input, "pointerup", () => this.canvas.focus({ preventScroll: true }));
    }
    this.set("level", 128); this.set("window", 256);
    parent.querySelector("[data-set=heat]").value = settings.heat;
    this.watch = new ResizeObserver(() => this.draw());
    this.watch.observe(this.stage);
  }

  fillHelp() {
    const list = this.dialog.querySelector("dl");
    list.replaceChildren(...HELP.flatMap(([key, words]) => {
      const [term, meaning] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = key; meaning.textContent = words;
      return [term, meaning];
    }));
  }
}
