"use strict";
/* The large view: a dialog with one image, its facts and files, and the way to the next. */

glpn.viewer = (() => {
  const { element, name, printable, number, meters, seconds, count, toUrl } = glpn.text;
  const part = (id) => document.getElementById(id);
  const dialog = part("viewer");

  let images = [];
  let position = -1;
  let turn = 0;

  const image = () => images[position];

  function show(chosen, index) {
    images = chosen;
    position = index;
    if (!dialog.open) {
      dialog.showModal();
      part("stage").focus();
    }
    fill();
  }

  async function fill() {
    const mine = ++turn;
    const current = image();
    glpn.stage.clear();
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
    part("message").hidden = true;
    part("photo").alt = `Photo ${printable(current.name)}`;
    part("depth").setAttribute("aria-label", `Depth of ${printable(current.name)}, ${glpn.list.summary(current)}`);
    const size = { width: current.width ?? data.grid?.width ?? 1, height: current.height ?? data.grid?.height ?? 1 };
    glpn.stage.show({ ...size, photo: data.photo, grid: data.grid, isApproximate: current.isApproximate }, glpn.looks.of(current));
    for (const neighbor of [position + 1, position - 1]) {
      if (images[neighbor] && images[neighbor].status !== "failed") glpn.loadImage(images[neighbor].id).catch(() => {});
    }
  }

  function repaint() {
    if (dialog.open) glpn.stage.repaint(glpn.looks.of(image()));
  }

  function showMessage(message, hint) {
    glpn.stage.blank();
    const box = part("message");
    box.replaceChildren(element("p", "what", printable(message)));
    if (hint) box.append(element("p", "muted", printable(hint)));
    box.hidden = false;
  }

  function describe(current) {
    const parts = [];
    if (current.width) parts.push(`${current.width} × ${current.height} pixels (width × height)`);
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

  function go(step) {
    const target = position + step;
    if (target < 0 || target >= images.length) return;
    history.replaceState(null, "", `#${images[target].id}`);
    position = target;
    fill();
  }

  /* On the document, because no element has the focus when a message replaces the stage. */
  document.addEventListener("keydown", (event) => {
    if (!dialog.open || event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
    const isArrow = event.key.startsWith("Arrow");
    const isDivider = event.target === part("divider");
    if (isArrow && event.shiftKey) glpn.stage.step(event.key);
    else if (event.key === "ArrowLeft" && !isDivider) go(-1);
    else if (event.key === "ArrowRight" && !isDivider) go(1);
    else if (Object.hasOwn(glpn.stage.keys, event.key)) glpn.stage.keys[event.key]();
    else return;
    event.preventDefault();
  });
  dialog.addEventListener("close", () => {
    const last = position;
    turn++;
    glpn.stage.clear();
    history.replaceState(null, "", location.pathname + location.search);
    glpn.list.focus(last);
  });
  part("previous").addEventListener("click", () => go(-1));
  part("next").addEventListener("click", () => go(1));
  part("close").addEventListener("click", () => dialog.close());

  return { show, repaint, close: () => dialog.close(), isOpen: () => dialog.open };
})();
