"use strict";
/* Starts the page when the index has been loaded, and connects its parts. */

glpn.start = (index) => {
  const { element, printable, count } = glpn.text;
  const part = (id) => document.getElementById(id);
  const images = index.rows.map((row) => Object.fromEntries(index.columns.map((column, at) => [column, row[at] ?? null])));
  for (const image of images) image.isApproximate = index.metric === false || image.approximate;
  glpn.choose.prepare(images);
  const filter = {
    status: "all", words: [], sort: "name", descending: false, medianFrom: null, medianTo: null, secondsFrom: null, secondsTo: null,
  };
  let chosen = [];

  function showRun() {
    const failed = images.filter((image) => image.status === "failed").length;
    document.title = `Depth of ${printable(index.title)}`;
    part("title").textContent = document.title;
    const parts = [`${count(images.length)} ${images.length === 1 ? "image" : "images"}`];
    if (failed) parts.push(`${count(failed)} failed`);
    if (index.total > images.length) parts.push(`${count(index.total - images.length)} pending; reload to update`);
    parts.push(...index.lines.slice(0, 2).map(([, text]) => printable(text)));
    part("summary").textContent = parts.join(" · ");
    const lines = [...index.lines, ["Written", index.written]];
    for (const [label, text] of lines) {
      if (text) part("run-lines").append(element("dt", "", printable(label)), element("dd", "", printable(text)));
    }
    const kinds = [["all", "All", images.length], ["done", "Done", images.filter((image) => image.status === "done").length], ["failed", "Failed", failed]];
    for (const [value, label, many] of kinds) {
      const box = element("label");
      const button = element("input");
      Object.assign(button, { type: "radio", name: "status", value, checked: value === filter.status });
      box.append(button, element("span", "", `${label} ${count(many)}`));
      part("status").append(box);
    }
    part("tools").hidden = images.length === 0;
  }

  function choose() {
    chosen = glpn.choose.choose(images, filter);
    const all = chosen.length === images.length;
    part("count").textContent = all ? "" : `${count(chosen.length)} of ${count(images.length)} images`;
    part("empty").hidden = chosen.length > 0;
    const used = ["median-from", "median-to", "seconds-from", "seconds-to"].filter((id) => part(id).value !== "").length;
    part("more-summary").textContent = used ? `More filters (${used})` : "More filters";
    glpn.list.show(chosen);
  }

  function recolor() {
    glpn.color.drawLegend(part("legend"), glpn.looks.of(null));
    glpn.list.repaint();
    glpn.viewer.repaint();
  }

  function openFromUrl() {
    const id = location.hash.slice(1);
    if (!id) return glpn.viewer.isOpen() && glpn.viewer.close();
    let position = chosen.findIndex((image) => image.id === id);
    if (position < 0 && images.some((image) => image.id === id)) {
      clear();
      position = chosen.findIndex((image) => image.id === id);
    }
    if (position >= 0) glpn.viewer.show(chosen, position);
  }

  function clear() {
    for (const input of part("tools").querySelectorAll("input:not([type=radio])")) input.value = "";
    part("status").querySelector("input").checked = true;
    Object.assign(filter, { status: "all", words: [], medianFrom: null, medianTo: null, secondsFrom: null, secondsTo: null });
    choose();
  }

  const numbers = { "median-from": "medianFrom", "median-to": "medianTo", "seconds-from": "secondsFrom", "seconds-to": "secondsTo" };
  for (const [id, key] of Object.entries(numbers)) {
    part(id).addEventListener("input", (event) => {
      filter[key] = event.target.value === "" ? null : event.target.valueAsNumber;
      choose();
    });
  }
  part("text").addEventListener("input", (event) => {
    filter.words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    choose();
  });
  part("status").addEventListener("change", (event) => { filter.status = event.target.value; choose(); });
  part("sort").addEventListener("change", (event) => { filter.sort = event.target.value; choose(); });
  part("direction").addEventListener("click", (event) => {
    filter.descending = !filter.descending;
    event.currentTarget.textContent = filter.descending ? "↓" : "↑";
    event.currentTarget.setAttribute("aria-label", `${filter.descending ? "Descending" : "Ascending"}, click to reverse`);
    choose();
  });
  part("clear").addEventListener("click", clear);
  window.addEventListener("hashchange", openFromUrl);

  glpn.looks.start(index, recolor);
  showRun();
  choose();
  recolor();
  openFromUrl();
};

/* Panels close by Esc, which then closes nothing else, and when something else gets the focus. A click outside hits the
   backdrop of the panel's summary and closes the panel, by CSS alone. */
const openPanel = () => document.querySelector("details.panel[open]");

document.addEventListener("focusin", (event) => {
  const panel = openPanel();
  if (panel && !panel.contains(event.target)) panel.open = false;
});
document.addEventListener("keydown", (event) => {
  const panel = openPanel();
  if (event.key !== "Escape" || !panel) return;
  panel.open = false;
  panel.querySelector("summary").focus();
  event.preventDefault();
});
