"use strict";
/* Loads data from the report's folder. A page that is opened from disk may not fetch files, but it may load scripts:
   each passes its data to a function of `glpn`. */

const glpn = (() => {
  const FOLDER = "glpn-report/";
  const INVERSE_STEPS = 512;
  const ENDINGS = { thumbnail: ".small.js", image: ".js" };
  const delivered = new Map();

  /* Caches the last few results, so that memory does not grow with the number of viewed images. */
  function cached(limit, load) {
    const cache = new Map();
    return (id) => {
      const found = cache.get(id) ?? load(id);
      cache.delete(id);
      cache.set(id, found);
      found.catch(() => cache.delete(id));
      if (cache.size > limit) cache.delete(cache.keys().next().value);
      return found;
    };
  }

  function loadScript(kind, id) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      const finish = () => {
        script.remove();
        const data = delivered.get(kind + id);
        delivered.delete(kind + id);
        if (data) resolve(data);
        else reject(new Error("The data of this image is not in the folder glpn-report."));
      };
      script.onload = script.onerror = finish;
      script.src = FOLDER + id + ENDINGS[kind];
      document.head.append(script);
    });
  }

  async function inflate(text) {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  /* The inverse of encode_grid in content.py: the step of each value row by row, 0 if it is unknown, and the meters of
     each step. */
  async function decodeGrid(grid) {
    const { height, width } = grid;
    const planes = await inflate(grid.data);
    const size = height * width;
    const steps = new Uint16Array(size);
    let most = 0;
    for (let row = 0, at = 0; row < height; row++) {
      let horizontal = 0;
      for (let column = 0; column < width; column++, at++) {
        const zigzag = (planes[at] << 8) | planes[size + at];
        horizontal += (zigzag >> 1) ^ -(zigzag & 1);
        steps[at] = horizontal + (row ? steps[at - width] : 0);
        if (steps[at] > most) most = steps[at];
      }
    }
    return { height, width, steps, meters: metersOfSteps(grid, most) };
  }

  /* As decode_grid in content.py. Grids of earlier versions have no `high_m`: all their steps are equal in meters. */
  function metersOfSteps({ low_m: low, high_m: high = low, step_m: step }, most) {
    const meters = new Float32Array(most + 1);
    const factor = high > low ? (INVERSE_STEPS * high) / (high - low) : 0;
    for (let value = 1; value <= most; value++) {
      const even = low + (value - 1) * step;
      const offset = even / step - factor;
      const solved = (step / 2) * (offset + Math.sqrt(offset * offset + (4 * factor * low) / step));
      meters[value] = factor ? Math.min(high, Math.max(low, solved)) : even;
    }
    meters[0] = NaN;
    return meters;
  }

  async function load(kind, id) {
    const data = await loadScript(kind, id);
    return { ...data, grid: data.grid && (await decodeGrid(data.grid)) };
  }

  return {
    loadThumbnail: cached(150, (id) => load("thumbnail", id)),
    loadImage: cached(5, (id) => load("image", id)),
    thumbnail: (id, data) => delivered.set("thumbnail" + id, data),
    image: (id, data) => delivered.set("image" + id, data),
    picture: (id, data) => delivered.set("image" + id, data), /* in scripts of version 0.1 */
    index: (data) => glpn.start(data),
  };
})();
