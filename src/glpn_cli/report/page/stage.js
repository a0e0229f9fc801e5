"use strict";
/* Photo and depth map of one image, one above the other with a divider: zoom, and the distance at a point. */

glpn.stage = (() => {
  const { element, meters } = glpn.text;
  const part = (id) => document.getElementById(id);
  const room = part("room");
  const stage = part("stage");
  const divider = part("divider");
  const MAX_ZOOM = 16;
  const ZOOM_STEP = 1.5;
  const DOUBLE_CLICK_ZOOM = 3;
  const PIXELS_FROM_PX = 8; /* from this size on, values of the grid are drawn as squares */
  const DRAG_PX = 4;
  const TAP_PX = 12;
  const DOUBLE_TAP_MS = 350;
  const DOUBLE_TAP_PX = 30;

  let content = null; /* { width, height, photo, grid, isApproximate } */
  let zoom = 1; /* 1 fits the image into the room */
  let center = { x: 0.5, y: 0.5 }; /* what is in the middle of the room, as a fraction of the image */
  let box = { left: 0, top: 0, width: 1, height: 1 }; /* of the image, relative to the room */
  let probe = null; /* { x, y, isTouch }: a pixel of the upright image, and whether a finger covers it */
  let markDepth = () => {};

  /* Shows an image. Pixels of photo and depth map lie above each other, because both fill the same box. */
  function show(next, look) {
    content = next;
    zoom = 1;
    center = { x: 0.5, y: 0.5 };
    room.classList.remove("blank");
    room.classList.toggle("alone", !(next.grid && next.photo));
    part("photo").hidden = !next.photo;
    if (next.photo) part("photo").src = next.photo;
    part("depth").hidden = !next.grid;
    layOut();
    repaint(look);
  }

  /* Ignores gestures until the next image is there. */
  function clear() {
    setProbe(null);
    content = null;
    pointers.clear();
    gesture = null;
  }

  function blank() {
    clear();
    room.classList.add("blank");
    part("viewer-legend").replaceChildren();
  }

  function repaint(look) {
    if (!content?.grid) return;
    glpn.color.paint(part("depth"), content.grid, look);
    markDepth = glpn.color.drawLegend(part("viewer-legend"), look);
    setProbe(probe);
  }

  /* View */

  function layOut() {
    if (!content || !room.clientWidth || !room.clientHeight) return;
    const scale = zoom * Math.min(room.clientWidth / content.width, room.clientHeight / content.height);
    const [width, height] = [content.width * scale, content.height * scale];
    const bounded = (middle, size, available) =>
      size <= available ? 0.5 : Math.min(1 - available / size / 2, Math.max(available / size / 2, middle));
    center = { x: bounded(center.x, width, room.clientWidth), y: bounded(center.y, height, room.clientHeight) };
    const whole = (value) => Math.round(value * devicePixelRatio) / devicePixelRatio;
    box = {
      left: whole(room.clientWidth / 2 - center.x * width), top: whole(room.clientHeight / 2 - center.y * height),
      width: Math.max(1, whole(width)), height: Math.max(1, whole(height)),
    };
    for (const [side, value] of Object.entries(box)) stage.style[side] = `${value}px`;
    stage.classList.toggle("pixels", content.grid && box.width / content.grid.width >= PIXELS_FROM_PX);
    part("zoom-fit").textContent = `${zoom < 9.95 ? zoom.toFixed(1).replace(/\.0$/, "") : Math.round(zoom)}×`;
    part("zoom-in").setAttribute("aria-disabled", zoom >= MAX_ZOOM);
    part("zoom-out").setAttribute("aria-disabled", zoom <= 1);
    room.classList.toggle("zoomed", zoom > 1);
    divide();
    setProbe(probe);
  }

  const fractionAt = (at) => ({ x: (at.x - box.left) / box.width, y: (at.y - box.top) / box.height });

  /* Zooms so that a point of the image, given as a fraction, lies at a point of the room, if no gap opens. */
  function view(next, fraction, at) {
    const ratio = Math.min(MAX_ZOOM, Math.max(1, next)) / zoom;
    zoom *= ratio;
    center = {
      x: fraction.x + (room.clientWidth / 2 - at.x) / (box.width * ratio),
      y: fraction.y + (room.clientHeight / 2 - at.y) / (box.height * ratio),
    };
    layOut();
  }

  /* Zooms by a factor around a point of the room, which stays where it is. */
  function zoomBy(factor, at = { x: room.clientWidth / 2, y: room.clientHeight / 2 }) {
    if (content) view(zoom * factor, fractionAt(at), at);
  }

  function pan(dx, dy) {
    center = { x: center.x - dx / box.width, y: center.y - dy / box.height };
    layOut();
  }

  function fit() {
    zoom = 1;
    layOut();
  }

  const toggleZoom = (at) => (zoom > 1 ? fit() : zoomBy(DOUBLE_CLICK_ZOOM, at));

  /* The part of the image that is in the room. */
  function visible() {
    const [left, top] = [Math.max(0, box.left), Math.max(0, box.top)];
    const right = Math.min(room.clientWidth, box.left + box.width);
    return { left, top, width: right - left, height: Math.min(room.clientHeight, box.top + box.height) - top };
  }

  /* The divider stays where it is in the room while the image moves below it. */
  function divide() {
    const { left, top, width, height } = visible();
    const x = left + (width * divider.value) / divider.max;
    const percent = (100 * (x - box.left)) / box.width;
    part("depth").style.clipPath = room.classList.contains("alone") ? "none" : `inset(0 0 0 ${percent}%)`;
    Object.assign(part("line").style, { left: `${x}px`, top: `${top}px`, height: `${height}px` });
  }

  function moveDivider(at) {
    const { left, width } = visible();
    divider.value = Math.round((divider.max * (at.x - left)) / width);
    divide();
  }

  /* Distance at a point */

  function depthAt(x, y) {
    const { grid, width, height } = content;
    const column = Math.min(grid.width - 1, Math.floor(((x + 0.5) * grid.width) / width));
    const row = Math.min(grid.height - 1, Math.floor(((y + 0.5) * grid.height) / height));
    return grid.meters[grid.steps[row * grid.width + column]];
  }

  function setProbe(where, { spoken = false } = {}) {
    probe = content?.grid ? where : null;
    const at = probe && {
      x: box.left + ((probe.x + 0.5) * box.width) / content.width,
      y: box.top + ((probe.y + 0.5) * box.height) / content.height,
    };
    const isShown = at && at.x >= 0 && at.y >= 0 && at.x <= room.clientWidth && at.y <= room.clientHeight;
    part("cross").hidden = part("bubble").hidden = !isShown;
    if (!probe) return markDepth(NaN);
    const depth = depthAt(probe.x, probe.y);
    const text = meters(depth, content.isApproximate);
    part("bubble").replaceChildren(element("strong", "", text), element("span", "", `${probe.x}, ${probe.y}`));
    markDepth(depth);
    if (spoken) part("spoken").textContent = `${text} at ${probe.x}, ${probe.y}`;
    if (isShown) place(at);
  }

  /* Places the cross at a point and the text beside it, inside of the room and not below a finger. */
  function place(at) {
    const bubble = part("bubble");
    const [width, height] = [bubble.offsetWidth, bubble.offsetHeight];
    const [aside, above] = probe.isTouch ? [-width / 2, 52] : [16, 10];
    let [left, top] = [at.x + aside, at.y - height - above];
    if (!probe.isTouch && left + width > room.clientWidth) left = at.x - aside - width;
    if (top < 0) top = at.y + above;
    left = Math.max(0, Math.min(room.clientWidth - width, left));
    Object.assign(part("cross").style, { left: `${at.x}px`, top: `${at.y}px` });
    Object.assign(bubble.style, { left: `${left}px`, top: `${Math.min(room.clientHeight - height, top)}px` });
  }

  function pixelAt(at, isTouch) {
    const { x, y } = fractionAt(at);
    const inside = (fraction, size) => Math.min(size - 1, Math.max(0, Math.floor(fraction * size)));
    const slack = isTouch ? 0.02 : 0;
    if (Math.min(x, y) < -slack || Math.max(x, y) >= 1 + slack) return null;
    return { x: inside(x, content.width), y: inside(y, content.height), isTouch };
  }

  /* Moves the point by an arrow key; a zoomed image follows it. */
  function step(key) {
    if (!content?.grid) return;
    const [width, height] = [content.width, content.height];
    const from = probe ?? { x: Math.floor(center.x * width), y: Math.floor(center.y * height) };
    const many = Math.max(1, Math.round(Math.max(width, height) / (100 * zoom)));
    const [dx, dy] = { ArrowLeft: [-many, 0], ArrowRight: [many, 0], ArrowUp: [0, -many], ArrowDown: [0, many] }[key];
    const next = {
      x: Math.min(width - 1, Math.max(0, from.x + (probe ? dx : 0))),
      y: Math.min(height - 1, Math.max(0, from.y + (probe ? dy : 0))),
    };
    if (zoom > 1) {
      center = { x: (next.x + 0.5) / width, y: (next.y + 0.5) / height };
      probe = null;
      layOut();
    }
    setProbe(next, { spoken: true });
  }

  /* Gestures. A finger measures and two fingers zoom and pan; a mouse measures without a button, and drags the divider
     or, if the image is larger than the room, the image. */

  const pointers = new Map();
  let gesture = null; /* what the pressed pointers do: its kind, and where it began */
  let lastTap = { time: -Infinity, x: 0, y: 0 };
  let lastTouch = -Infinity;

  function toRoom(event) {
    const bounds = room.getBoundingClientRect();
    return { x: event.clientX - bounds.left, y: event.clientY - bounds.top };
  }

  const distance = (one, other) => Math.hypot(one.x - other.x, one.y - other.y);

  function pinched() {
    const [one, other] = [...pointers.values()];
    return { x: (one.x + other.x) / 2, y: (one.y + other.y) / 2, size: Math.max(1, distance(one, other)) };
  }

  room.addEventListener("pointerdown", (event) => {
    if (!content || event.button !== 0 || event.target.closest(".zoom")) return;
    const at = toRoom(event);
    const isTouch = event.pointerType !== "mouse";
    pointers.set(event.pointerId, at);
    room.setPointerCapture(event.pointerId);
    if (isTouch) lastTouch = event.timeStamp;
    if (pointers.size === 2) gesture = { kind: "pinch", from: pinched(), zoom, fraction: fractionAt(pinched()) };
    else if (pointers.size > 2) gesture = { kind: "none" };
    else if (event.target === part("line")) gesture = { kind: "divide" };
    else gesture = { kind: isTouch ? "measure" : "press", from: at, time: event.timeStamp };
    if (gesture.kind === "measure") setProbe(pixelAt(at, true));
  });

  room.addEventListener("pointermove", (event) => {
    if (!content) return;
    const at = toRoom(event);
    const isTouch = event.pointerType !== "mouse";
    const before = pointers.get(event.pointerId);
    if (before) pointers.set(event.pointerId, at);
    if (!isTouch) setProbe(event.target.closest(".zoom") ? null : pixelAt(at, false));
    if (!before || !gesture) return;
    if (gesture.from && distance(at, gesture.from) > DRAG_PX && gesture.kind === "press") {
      gesture.kind = zoom > 1 ? "pan" : "divide";
      if (gesture.kind === "pan") pan(at.x - gesture.from.x, at.y - gesture.from.y);
    } else if (gesture.kind === "pan") pan(at.x - before.x, at.y - before.y);
    if (gesture.kind === "divide") moveDivider(at);
    if (gesture.kind === "measure") setProbe(pixelAt(at, true) ?? probe);
    if (gesture.kind === "pinch") {
      const now = pinched();
      view((gesture.zoom * now.size) / gesture.from.size, gesture.fraction, now);
    }
  });

  function release(event) {
    if (!pointers.delete(event.pointerId)) return;
    const at = toRoom(event);
    const isTap = event.type === "pointerup" && gesture?.kind === "measure" && distance(at, gesture.from) < TAP_PX
      && event.timeStamp - gesture.time < DOUBLE_TAP_MS;
    if (isTap && event.timeStamp - lastTap.time < DOUBLE_TAP_MS && distance(at, lastTap) < DOUBLE_TAP_PX) {
      lastTap = { time: -Infinity, x: 0, y: 0 };
      toggleZoom(at);
    } else if (isTap) lastTap = { time: event.timeStamp, ...at };
    gesture = pointers.size ? { kind: "none" } : null; /* the second finger of a pinch does not measure */
  }

  room.addEventListener("pointerup", release);
  room.addEventListener("pointercancel", release);
  room.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse") setProbe(null); /* after a touch, the distance stays */
  });
  room.addEventListener("dblclick", (event) => {
    const isTouch = event.timeStamp - lastTouch < 2 * DOUBLE_TAP_MS; /* a double tap has been handled */
    if (content && !isTouch && !event.target.closest(".zoom")) toggleZoom(toRoom(event));
  });
  room.addEventListener("wheel", (event) => {
    if (!content) return;
    event.preventDefault();
    const lines = event.deltaY * ({ 1: 1, 2: 20 }[event.deltaMode] ?? 1 / 33);
    const factor = Math.exp(-lines * (event.ctrlKey ? 0.3 : 0.07)); /* with Ctrl: two fingers on a touchpad */
    zoomBy(Math.min(2, Math.max(0.5, factor)), toRoom(event));
  }, { passive: false });
  divider.addEventListener("input", divide);
  part("zoom-in").addEventListener("click", () => zoomBy(ZOOM_STEP));
  part("zoom-out").addEventListener("click", () => zoomBy(1 / ZOOM_STEP));
  part("zoom-fit").addEventListener("click", fit);
  new ResizeObserver(layOut).observe(room);

  const keys = { "+": () => zoomBy(ZOOM_STEP), "=": () => zoomBy(ZOOM_STEP), "-": () => zoomBy(1 / ZOOM_STEP), 0: fit };

  return { show, clear, blank, repaint, step, keys };
})();
