"use strict";
/* Converts meters to colors, with a color table, a range and a curve, and draws the legend. */

glpn.color = (() => {
  const STEPS = 256;
  const FIRST_FRACTION = 0.05; /* as in output/color.py: where a range from 0 m starts */
  const LEAST_SPAN = 1e-3; /* constant depth has a range, too */
  const TICK_GAP_PX = 7;
  const ENOUGH_TICKS = 4;
  const DIGIT_PX = 6.5;
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
      tables.set(name, new Uint32Array(table.buffer));
    }
    return [...tables.keys()];
  }

  /* Returns the ends of a look's range and the fraction of a depth between them, on the curve: curve_fraction in
     output/color.py. Near is 0. */
  function scaleOf(look) {
    const isLinear = look.curve === "linear";
    const low = look.low > 0 || isLinear ? look.low : FIRST_FRACTION * look.high;
    const high = Math.max(look.high, low + LEAST_SPAN * Math.max(low, LEAST_SPAN));
    const bounded = (fraction) => (fraction > 0 ? Math.min(fraction, 1) : 0);
    const fractions = {
      inverse: (meters) => bounded(((meters - low) / meters) * (high / (high - low))),
      log: (meters) => bounded(Math.log(meters / low) / Math.log(high / low)),
      linear: (meters) => bounded((meters - low) / (high - low)),
    };
    return { low, high, fraction: fractions[look.curve] };
  }

  /* Draws a grid, one pixel per value; CSS scales it. Unknown depth is transparent. The color of each step is looked
     up once, so that a change of the look is instant. */
  function paint(canvas, grid, look) {
    const table = tables.get(look.palette);
    const { fraction } = scaleOf(look);
    const colors = Uint32Array.from(grid.meters, (meters) =>
      meters === meters ? table[Math.round((STEPS - 1) * fraction(meters))] : 0);
    canvas.width = grid.width;
    canvas.height = grid.height;
    const context = canvas.getContext("2d");
    const image = context.createImageData(grid.width, grid.height);
    const pixels = new Uint32Array(image.data.buffer);
    for (let at = 0; at < pixels.length; at++) pixels[at] = colors[grid.steps[at]];
    context.putImageData(image, 0, 0);
  }

  function paintRamp(canvas, palette) {
    canvas.width = STEPS;
    canvas.height = 1;
    const context = canvas.getContext("2d");
    const image = context.createImageData(STEPS, 1);
    new Uint32Array(image.data.buffer).set(tables.get(palette));
    context.putImageData(image, 0, 0);
  }

  /* Returns round numbers in a range with their fractions, whose labels do not overlap: the roundest first, so that
     they are well spread on every curve. */
  function ticks(scale, width_px) {
    const found = [];
    const { low, high } = scale;
    for (let power = Math.ceil(Math.log10(high)); power > -7; power--) {
      for (const step of [5, 2, 1].map((factor) => factor * 10 ** power)) {
        if (found.length >= ENOUGH_TICKS || step < (high - low) / 100) return found;
        for (let index = Math.ceil(low / step - 1e-6); index * step <= high + 1e-6 * (high - low); index++) {
          const meters = Number((index * step).toPrecision(6));
          const text = String(meters);
          const fraction = scale.fraction(meters);
          const isFree = found.every((other) => Math.abs(other.fraction - fraction) * width_px
            >= ((other.text.length + text.length) * DIGIT_PX) / 2 + TICK_GAP_PX);
          if (meters > 0 && isFree) found.push({ meters, text, fraction });
        }
      }
    }
    return found;
  }

  /* Fills an element with a color bar, the names and depths of its ends, and ticks; returns a function that marks a
     depth on it. Without a range, it names the ends only: every image has its own. */
  function drawLegend(box, look) {
    const bar = element("canvas", "ramp");
    paintRamp(bar, look.palette);
    if (look.low === null) {
      box.replaceChildren(element("span", "end near", "near"), element("span", "end far", "far"), bar);
      label(box, "Colors from near to far, with a range for each image");
      return () => {};
    }
    const scale = scaleOf(look);
    const ends = [element("span", "end near", `near ${number(scale.low)} m`), element("span", "end far", `far ${number(scale.high)} m`)];
    const marks = ticks(scale, box.clientWidth || 190).map(({ text, fraction }) => {
      const mark = element("span", "tick", text);
      mark.style.left = `${100 * fraction}%`;
      return mark;
    });
    const needle = element("span", "needle");
    needle.hidden = true;
    box.replaceChildren(...ends, bar, ...marks, needle);
    label(box, `Colors from near, ${number(scale.low)} meters, to far, ${number(scale.high)} meters`);
    return (meters) => {
      needle.hidden = !Number.isFinite(meters);
      if (!needle.hidden) needle.style.left = `${100 * scale.fraction(meters)}%`;
    };
  }

  function label(box, text) {
    box.setAttribute("role", "img");
    box.setAttribute("aria-label", text);
  }

  return { addTables, scaleOf, paint, ticks, drawLegend };
})();
