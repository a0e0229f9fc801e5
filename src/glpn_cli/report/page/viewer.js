"use strict";
/* The large view of one image: photo and depth map with a divider, and the distance under the pointer. */

glpn.viewer = (() => {
  const { element, name, printable, number, meters, seconds, count, toUrl } = glpn.text;
  const part = (id) => document.getElementById(id);
  const dialog = part("viewer");
  const stage = part("stage");
  const divider = part("divider");

  let images = [];
  let position = -1;
  let grid = null;
  let lookOf = null;
  let probe = null; /* { x, y } in pixels of the upright image */
  let markDepth = () => {};
  let turn = 0;

  const image = () => images[position];

  function show(chosen, look, index) {
    images = chosen;
    lookOf = look;
    position = index;
    if (!dialog.open) {
      dialog.showModal();
      stage.focus();
    }
    fill();
  }

  async function fill() {
    const mine = ++turn;
    const current = image();
    grid = null;
    setProbe(null);
    part("viewer-name").replaceChildren(name(current.name));
    part("viewer-position").textContent = `${count(position + 1)} of ${count(images.length)}`;
    part("previous").disabled = position === 0;
    part("next").disabled = position === images.length - 1;
    part("viewer-facts").textContent = describe(current);
    part("viewer-files").replaceChildren();
    if (current.status === "failed") return showMessage(current.error ?? "Failed without a message.", current.hint);
    let data;
    try {
      data = await glpn.loadImage(current.id);
    } catch (error) {
      if (mine === turn) showMessage(error.message);
      return;
    }
    if (mine !== turn) return;
    part("viewer-files").append(...links(data.outputs));
    for (const note of data.notes ?? []) part("viewer-facts").append(element("span", "note", printable(note)));
    if (!data.grid && !data.photo) return showMessage("Neither the photo nor a readable depth file was available when this report was written.");
    grid = data.grid;
    part("message").hidden = true;
    stage.hidden = false;
    stage.classList.toggle("alone", !(grid && data.photo));
    part("photo").hidden = !data.photo;
    if (data.photo) part("photo").src = data.photo;
    part("photo").alt = `Photo ${printable(current.name)}`;
    part("depth").hidden = !grid;
    part("depth").setAttribute("aria-label", `Depth of ${printable(current.name)}, ${glpn.list.summary(current)}`);
    repaint(lookOf);
    fit();
    for (const neighbor of [position + 1, position - 1]) {
      if (images[neighbor] && images[neighbor].status !== "failed") glpn.loadImage(images[neighbor].id).catch(() => {});
    }
  }

  function repaint(look) {
    lookOf = look;
    if (!dialog.open || !grid) return;
    glpn.color.paint(part("depth"), grid, look(image()));
    markDepth = glpn.color.drawLegend(part("viewer-legend"), look(image()), 6);
    setProbe(probe);
  }

  function showMessage(message, hint) {
    stage.hidden = true;
    part("viewer-legend").replaceChildren();
    const box = part("message");
    box.replaceChildren(element("p", "what", printable(message)));
    if (hint) box.append(element("p", "muted", printable(hint)));
    box.hidden = false;
  }

  function describe(current) {
    const parts = [];
    if (current.width) parts.push(`${current.width} × ${current.height} pixels`);
    if (current.median !== null) {
      parts.push(`median ${meters(current.median, current.isApproximate)}, ${number(current.nearest)} to ${meters(current.farthest)}`);
    }
    if (current.seconds && current.status !== "failed") parts.push(seconds(current.seconds));
    if (current.approximate) parts.push("depth read from an 8-bit image");
    return parts.join(" · ");
  }

  function links(outputs) {
    return Object.entries(outputs).map(([format, path]) => {
      const link = element("a", "file", format);
      link.href = toUrl(path);
      link.title = printable(path);
      link.target = "_blank";
      link.rel = "noopener";
      return link;
    });
  }

  /* Fits the image into the window, with its aspect ratio. */
  function fit() {
    const current = image();
    if (!dialog.open || !current?.width) return;
    const room = part("room");
    const zoom = Math.min(room.clientWidth / current.width, room.clientHeight / current.height);
    stage.style.width = `${Math.floor(current.width * zoom)}px`;
    stage.style.height = `${Math.floor(current.height * zoom)}px`;
    divide();
  }

  function divide() {
    const percent = divider.value / 10;
    part("depth").style.clipPath = stage.classList.contains("alone") ? "none" : `inset(0 0 0 ${percent}%)`;
    part("line").style.left = `${percent}%`;
  }

  function depthAt(x, y) {
    const current = image();
    const column = Math.min(grid.width - 1, Math.floor(((x + 0.5) * grid.width) / current.width));
    const row = Math.min(grid.height - 1, Math.floor(((y + 0.5) * grid.height) / current.height));
    return grid.meters[row * grid.width + column];
  }

  function setProbe(where, { spoken = false } = {}) {
    probe = grid && where;
    part("cross").hidden = part("bubble").hidden = !probe;
    if (!probe) return markDepth(NaN);
    const current = image();
    const depth = depthAt(probe.x, probe.y);
    const [left, top] = [(100 * (probe.x + 0.5)) / current.width, (100 * (probe.y + 0.5)) / current.height];
    for (const id of ["cross", "bubble"]) {
      part(id).style.left = `${left}%`;
      part(id).style.top = `${top}%`;
    }
    part("bubble").classList.toggle("to-the-left", left > 75);
    part("bubble").classList.toggle("below", top < 15);
    const text = meters(depth, current.isApproximate);
    part("bubble").replaceChildren(element("strong", "", text), element("span", "", `${probe.x}, ${probe.y}`));
    markDepth(depth);
    if (spoken) part("spoken").textContent = `${text} at ${probe.x}, ${probe.y}`;
  }

  function pixelUnder(event) {
    const box = stage.getBoundingClientRect();
    const current = image();
    const inside = (value, size) => Math.min(size - 1, Math.max(0, Math.floor(value * size)));
    return {
      x: inside((event.clientX - box.left) / box.width, current.width),
      y: inside((event.clientY - box.top) / box.height, current.height),
    };
  }

  function drag(event) {
    const box = stage.getBoundingClientRect();
    divider.value = Math.round((1000 * (event.clientX - box.left)) / box.width);
    divide();
  }

  function go(step) {
    const target = position + step;
    if (target < 0 || target >= images.length) return;
    history.replaceState(null, "", `#${images[target].id}`);
    position = target;
    fill();
  }

  function move(key) {
    const current = image();
    const from = probe ?? { x: Math.floor(current.width / 2), y: Math.floor(current.height / 2) };
    const step = Math.max(1, Math.round(Math.max(current.width, current.height) / 100));
    const [dx, dy] = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[key];
    setProbe({
      x: Math.min(current.width - 1, Math.max(0, from.x + (probe ? dx : 0))),
      y: Math.min(current.height - 1, Math.max(0, from.y + (probe ? dy : 0))),
    }, { spoken: true });
  }

  stage.addEventListener("pointermove", (event) => {
    setProbe(pixelUnder(event));
    if (stage.hasPointerCapture(event.pointerId)) drag(event);
  });
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    stage.setPointerCapture(event.pointerId);
    setProbe(pixelUnder(event));
    drag(event);
  });
  stage.addEventListener("pointerleave", () => setProbe(null));
  divider.addEventListener("input", divide);
  /* On the document, because no element has the focus when a message replaces the stage. */
  document.addEventListener("keydown", (event) => {
    if (!dialog.open || !event.key.startsWith("Arrow") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.shiftKey && grid) move(event.key);
    else if (event.target !== divider && event.key === "ArrowLeft") go(-1);
    else if (event.target !== divider && event.key === "ArrowRight") go(1);
    else return;
    event.preventDefault();
  });
  dialog.addEventListener("close", () => {
    const last = position;
    turn++;
    grid = null;
    history.replaceState(null, "", location.pathname + location.search);
    glpn.list.focus(last);
  });
  part("previous").addEventListener("click", () => go(-1));
  part("next").addEventListener("click", () => go(1));
  part("close").addEventListener("click", () => dialog.close());
  new ResizeObserver(fit).observe(part("room"));

  return { show, repaint, close: () => dialog.close(), isOpen: () => dialog.open };
})();
