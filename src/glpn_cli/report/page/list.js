"use strict";
/* The overview. Only cards in and near the visible area are in the document, however many images there are. */

glpn.list = (() => {
  const { element, name, printable, number, meters, seconds } = glpn.text;
  const list = document.getElementById("list");
  const GAP = 16;
  const CARD_WIDTH = 330;
  const CAPTION = 62;
  const SPARE_ROWS = 2;
  const AT_ONCE = 8;

  const shown = new Map(); /* cards by position in the list */
  const waiting = [];
  let loading = 0;
  let images = [];
  let shape = { columns: 1, width: CARD_WIDTH, height: 1 };

  function measure() {
    const available = list.clientWidth;
    const columns = Math.max(1, Math.floor((available + GAP) / (CARD_WIDTH + GAP)));
    const width = (available - GAP * (columns - 1)) / columns;
    shape = { columns, width, height: Math.round(width * 3 / 8) + CAPTION };
    list.style.setProperty("--pane-height", `${shape.height - CAPTION}px`);
    list.style.height = `${Math.max(0, Math.ceil(images.length / columns) * (shape.height + GAP) - GAP)}px`;
  }

  const top = () => list.getBoundingClientRect().top + window.scrollY;

  function draw() {
    const step = shape.height + GAP;
    const from = window.scrollY - top();
    const first = Math.max(0, Math.floor(from / step) - SPARE_ROWS) * shape.columns;
    const last = Math.min(images.length, (Math.ceil((from + window.innerHeight) / step) + SPARE_ROWS) * shape.columns);
    for (const [position, card] of shown) {
      if ((position < first || position >= last) && !card.contains(document.activeElement)) {
        card.remove();
        shown.delete(position);
      }
    }
    for (let position = first; position < last; position++) {
      if (!shown.has(position)) {
        const card = makeCard(images[position], position);
        shown.set(position, card);
        list.append(card);
      }
    }
    for (const [position, card] of shown) {
      card.style.width = `${shape.width}px`;
      card.style.height = `${shape.height}px`;
      const left = (position % shape.columns) * (shape.width + GAP);
      card.style.transform = `translate(${left}px, ${Math.floor(position / shape.columns) * step}px)`;
    }
    loadNext();
  }

  function makeCard(image, position) {
    const card = element("div", "card");
    card.setAttribute("role", "listitem");
    card.setAttribute("aria-setsize", images.length);
    card.setAttribute("aria-posinset", position + 1);
    const link = element("a", "open");
    link.href = `#${image.id}`;
    link.dataset.position = position;
    card.append(link);
    if (image.status === "failed") {
      card.classList.add("failed");
      const reason = element("span", "reason", printable(image.error ?? "Failed without a message."));
      link.append(reason);
    } else {
      const pair = element("span", "pair");
      const photo = element("img");
      photo.alt = `Photo ${printable(image.name)}`;
      photo.hidden = true;
      const depth = element("canvas");
      depth.setAttribute("role", "img");
      depth.setAttribute("aria-label", `Depth map, ${summary(image)}`);
      pair.append(photo, depth);
      if (image.width) pair.style.setProperty("--ratio", image.width / image.height);
      link.append(pair);
      waiting.push({ card, image, pair, photo, depth });
    }
    const caption = element("span", "caption");
    caption.append(name(image.name), element("span", "numbers muted", summary(image)));
    link.append(caption);
    return card;
  }

  function summary(image) {
    const parts = [];
    if (image.status === "failed") parts.push("failed");
    else if (image.median === null) parts.push("depth not available");
    else parts.push(`median ${meters(image.median, image.isApproximate)}`, `${number(image.nearest)} to ${meters(image.farthest)}`);
    if (image.status === "outdated") parts.push("will be processed again");
    if (image.status === "unfinished") parts.push("some outputs are missing");
    if (image.seconds && image.status !== "failed") parts.push(seconds(image.seconds));
    return parts.join(" · ");
  }

  /* Cards that have left the visible area are skipped. */
  function loadNext() {
    while (loading < AT_ONCE && waiting.length) {
      const item = waiting.shift();
      if (!item.card.isConnected) continue;
      loading++;
      glpn.loadThumbnail(item.image.id).then((data) => fill(item, data), () => item.pair.classList.add("missing"))
        .finally(() => { loading--; loadNext(); });
    }
  }

  function fill(item, data) {
    if (data.photo) {
      item.photo.src = data.photo;
      item.photo.hidden = false;
    } else item.pair.classList.add("no-photo");
    if (data.grid) {
      if (!item.image.width) item.pair.style.setProperty("--ratio", data.grid.width / data.grid.height);
      item.card.repaint = () => glpn.color.paint(item.depth, data.grid, glpn.looks.of(item.image));
      item.card.repaint();
    } else item.pair.classList.add("no-depth");
  }

  function show(chosen) {
    images = chosen;
    for (const card of shown.values()) card.remove();
    shown.clear();
    waiting.length = 0;
    measure();
    draw();
  }

  function repaint() {
    for (const card of shown.values()) card.repaint?.();
  }

  function focus(position) {
    const row = Math.floor(position / shape.columns);
    const step = shape.height + GAP;
    const covered = document.getElementById("tools").offsetHeight + GAP;
    const from = top() + row * step - covered;
    const to = top() + row * step + shape.height + GAP - window.innerHeight;
    if (window.scrollY > from) window.scrollTo(0, from);
    else if (window.scrollY < to) window.scrollTo(0, to);
    draw();
    shown.get(position)?.querySelector("a").focus({ preventScroll: true });
  }

  list.addEventListener("keydown", (event) => {
    const position = Number(event.target.dataset?.position);
    const page = shape.columns * Math.max(1, Math.floor(window.innerHeight / (shape.height + GAP)) - 1);
    const steps = {
      ArrowLeft: -1, ArrowRight: 1, ArrowUp: -shape.columns, ArrowDown: shape.columns, PageUp: -page, PageDown: page,
      Home: -Infinity, End: Infinity,
    };
    const isPlain = !(event.ctrlKey || event.metaKey || event.altKey);
    if (!(event.key in steps) || Number.isNaN(position) || !isPlain) return;
    event.preventDefault();
    focus(Math.min(images.length - 1, Math.max(0, position + steps[event.key])));
  });

  let scheduled = false;
  window.addEventListener("scroll", () => {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => { scheduled = false; draw(); });
  }, { passive: true });
  new ResizeObserver(() => { measure(); draw(); }).observe(document.body);

  return { show, repaint, focus, summary };
})();
