"use strict";
/* Converts meters to colors, with a color table and a range, and draws the legend. */

glpn.color = (() => {
  const STEPS = 256;
  const { element, number } = glpn.text;
  const tables = new Map();

  /* Stores tables of 256 colors, near first, given as base64 of red, green, blue; returns their names. */
  function addTables(palettes) {
    for (const [name, text] of Object.entries(palettes)) {
      const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
      const table = new Uint8ClampedArray(STEPS * 4);
      for (let step = 0; step < STEPS; step++) {
        table.set([bytes[3 * step], bytes[3 * step + 1], bytes[3 * step + 2], 255], 4 * step);
      }
      tables.set(name, table);
    }
    return [...tables.keys()];
  }

  /* Draws a grid, one pixel per value; CSS scales it. Unknown depth is transparent. */
  function paint(canvas, grid, look) {
    const table = new Uint32Array(tables.get(look.palette).buffer);
    canvas.width = grid.width;
    canvas.height = grid.height;
    const context = canvas.getContext("2d");
    const image = context.createImageData(grid.width, grid.height);
    const pixels = new Uint32Array(image.data.buffer);
    const factor = (STEPS - 1) / Math.max(look.high - look.low, 1e-6);
    for (let at = 0; at < pixels.length; at++) {
      const meters = grid.meters[at];
      if (meters !== meters) continue;
      const step = Math.round((meters - look.low) * factor);
      pixels[at] = table[step < 0 ? 0 : step >= STEPS ? STEPS - 1 : step];
    }
    context.putImageData(image, 0, 0);
  }

  /* Returns round numbers in a range, at most about `most`. */
  function ticks(low, high, most) {
    const span = high - low;
    if (!(span > 0)) return [low];
    const rough = span / most;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
    const found = [];
    for (let index = Math.ceil(low / step - 1e-9); index * step <= high + 1e-9 * span; index++) found.push(index * step);
    return found;
  }

  /* Fills an element with a color bar and ticks; returns a function that marks a depth on it. */
  function drawLegend(box, look, most) {
    const bar = element("canvas", "ramp");
    const line = { width: STEPS, height: 1, meters: new Float32Array(STEPS) };
    for (let step = 0; step < STEPS; step++) line.meters[step] = look.low + ((look.high - look.low) * step) / (STEPS - 1);
    paint(bar, line, look);
    const fraction = (meters) => Math.min(1, Math.max(0, (meters - look.low) / Math.max(look.high - look.low, 1e-6)));
    const marks = ticks(look.low, look.high, most).map((meters) => {
      const mark = element("span", "tick", String(+meters.toFixed(3)));
      mark.style.left = `${100 * fraction(meters)}%`;
      return mark;
    });
    const needle = element("span", "needle");
    needle.hidden = true;
    box.replaceChildren(bar, ...marks, element("span", "unit", "m"), needle);
    box.setAttribute("role", "img");
    box.setAttribute("aria-label", `Colors from ${number(look.low)} to ${number(look.high)} meters`);
    return (meters) => {
      needle.hidden = !Number.isFinite(meters);
      if (!needle.hidden) needle.style.left = `${100 * fraction(meters)}%`;
    };
  }

  return { addTables, paint, ticks, drawLegend };
})();
