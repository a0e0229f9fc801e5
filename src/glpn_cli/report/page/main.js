"use strict";
/* Brings the parts together once the list of pictures is there. */

glpn.begin = (index) => {
  const { element, printable, count } = glpn.text;
  const part = (id) => document.getElementById(id);
  const pictures = index.rows.map((row) => Object.fromEntries(index.columns.map((column, at) => [column, row[at] ?? null])));
  for (const picture of pictures) picture.roughly = index.metric === false || picture.approximate;
  glpn.choose.prepare(pictures);
  const palettes = glpn.color.learn(index.palettes);
  const wholeRun = rangeOfRun(pictures, index);
  const wish = {
    status: "all", words: [], sort: "name", descending: false, medianFrom: null, medianTo: null, secondsFrom: null, secondsTo: null,
  };
  const look = { palette: palettes.includes(index.palette) ? index.palette : palettes[0], range: "run" };
  let chosen = [];

  function lookOf(picture) {
    if (look.range === "picture" && picture.far !== null) return { palette: look.palette, low: picture.near, high: picture.far };
    if (look.range === "model") return { palette: look.palette, low: 0, high: index.depth_limit_m };
    return { palette: look.palette, ...wholeRun };
  }

  function introduce() {
    const failed = pictures.filter((picture) => picture.status === "failed").length;
    document.title = `Depth of ${printable(index.title)}`;
    part("title").textContent = document.title;
    const parts = [`${count(pictures.length)} ${pictures.length === 1 ? "picture" : "pictures"}`];
    if (failed) parts.push(`${count(failed)} failed`);
    if (index.total > pictures.length) parts.push(`${count(index.total - pictures.length)} still to do when this was written; reload to see more`);
    parts.push(...index.lines.slice(0, 2).map(([, text]) => printable(text)));
    part("summary").textContent = parts.join(" · ");
    const lines = [["Pictures", index.folder], ...index.lines, ["Written", index.written]];
    for (const [label, text] of lines) {
      if (text) part("run-lines").append(element("dt", "", printable(label)), element("dd", "", printable(text)));
    }
    const kinds = [["all", "All", pictures.length], ["done", "Done", pictures.filter((picture) => picture.status === "done").length], ["failed", "Failed", failed]];
    for (const [value, label, many] of kinds) {
      const box = element("label");
      const button = element("input");
      Object.assign(button, { type: "radio", name: "status", value, checked: value === wish.status });
      box.append(button, element("span", "", `${label} ${count(many)}`));
      part("status").append(box);
    }
    for (const name of palettes) part("palette").append(element("option", "", name));
    part("palette").value = look.palette;
    part("tools").hidden = pictures.length === 0;
  }

  function choose() {
    chosen = glpn.choose.choose(pictures, wish);
    const all = chosen.length === pictures.length;
    part("count").textContent = all ? "" : `${count(chosen.length)} of ${count(pictures.length)} pictures`;
    part("empty").hidden = chosen.length > 0;
    const used = ["median-from", "median-to", "seconds-from", "seconds-to"].filter((id) => part(id).value !== "").length;
    part("more-summary").textContent = used ? `More filters (${used})` : "More filters";
    glpn.list.show(chosen, lookOf);
  }

  function recolour() {
    const isOne = look.range !== "picture";
    part("legend").hidden = !isOne;
    if (isOne) glpn.color.drawLegend(part("legend"), lookOf({ far: null }), 4);
    glpn.list.repaint(lookOf);
    glpn.viewer.repaint(lookOf);
  }

  function openFromAddress() {
    const id = location.hash.slice(1);
    if (!id) return glpn.viewer.isOpen() && glpn.viewer.close();
    let place = chosen.findIndex((picture) => picture.id === id);
    if (place < 0 && pictures.some((picture) => picture.id === id)) {
      clear();
      place = chosen.findIndex((picture) => picture.id === id);
    }
    if (place >= 0) glpn.viewer.show(chosen, lookOf, place);
  }

  function clear() {
    for (const input of part("tools").querySelectorAll("input:not([type=radio])")) input.value = "";
    part("status").querySelector("input").checked = true;
    Object.assign(wish, { status: "all", words: [], medianFrom: null, medianTo: null, secondsFrom: null, secondsTo: null });
    choose();
  }

  const numbers = { "median-from": "medianFrom", "median-to": "medianTo", "seconds-from": "secondsFrom", "seconds-to": "secondsTo" };
  for (const [id, key] of Object.entries(numbers)) {
    part(id).addEventListener("input", (event) => {
      wish[key] = event.target.value === "" ? null : event.target.valueAsNumber;
      choose();
    });
  }
  part("text").addEventListener("input", (event) => {
    wish.words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    choose();
  });
  part("status").addEventListener("change", (event) => { wish.status = event.target.value; choose(); });
  part("sort").addEventListener("change", (event) => { wish.sort = event.target.value; choose(); });
  part("direction").addEventListener("click", (event) => {
    wish.descending = !wish.descending;
    event.currentTarget.textContent = wish.descending ? "↓" : "↑";
    event.currentTarget.setAttribute("aria-label", `${wish.descending ? "Descending" : "Ascending"}; change the direction`);
    choose();
  });
  part("palette").addEventListener("change", (event) => { look.palette = event.target.value; recolour(); });
  part("range").addEventListener("change", (event) => { look.range = event.target.value; recolour(); });
  part("clear").addEventListener("click", clear);
  window.addEventListener("hashchange", openFromAddress);

  introduce();
  choose();
  recolour();
  openFromAddress();
};

/* What the coloured outputs span, or from the nearest to the farthest of all pictures, without a few odd pixels. */
function rangeOfRun(pictures, index) {
  if (index.range_m) return { low: index.range_m[0], high: index.range_m[1] };
  const known = pictures.filter((picture) => picture.far !== null);
  if (!known.length) return { low: 0, high: index.depth_limit_m };
  return { low: Math.min(...known.map((picture) => picture.near)), high: Math.max(...known.map((picture) => picture.far)) };
}
