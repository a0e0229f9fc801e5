"use strict";
/* The look of all depth maps: colors, curve and range. The overview and the large view have the same controls. */

glpn.looks = (() => {
  const { element } = glpn.text;
  const CURVES = [["inverse", "inverse"], ["log", "log"], ["linear", "linear"]];
  const RANGES = [["image", "each image"], ["run", "all images"], ["model", "full range"]];
  const HELP = {
    range: "Whether the colors span the depth of each image, of all images together, or all that the weights can predict",
    curve: "What the colors are even in: inverse depth (most colors for near objects), the logarithm of depth, or meters",
    palette: "The colors, from near to far",
  };
  const current = { palette: "", curve: "inverse", range: "image" };
  let ranges = {};

  /* Fills the controls and starts with the look of the index; calls `changed` after each change. */
  function start(index, changed) {
    const palettes = glpn.color.addTables(index.palettes);
    current.palette = palettes.includes(index.palette) ? index.palette : palettes[0];
    if (CURVES.some(([value]) => value === index.curve)) current.curve = index.curve;
    if (RANGES.some(([value]) => value === index.range)) current.range = index.range;
    ranges = { run: index.run_range_m, model: index.model_range_m };
    const choices = [["range", "Range", RANGES], ["curve", "Curve", CURVES], ["palette", "Colors", palettes.map((name) => [name, name])]];
    for (const box of document.querySelectorAll("[data-looks]")) {
      for (const [key, label, values] of choices) box.append(control(box.dataset.looks, key, label, values, changed));
    }
    show();
  }

  function control(prefix, key, label, values, changed) {
    const select = element("select");
    select.id = prefix + key;
    select.dataset.look = key;
    select.title = HELP[key];
    for (const [value, text] of values) {
      const option = element("option", "", text);
      option.value = value;
      select.append(option);
    }
    select.addEventListener("change", () => {
      current[key] = select.value;
      show();
      changed();
    });
    const name = element("label", "", label);
    name.htmlFor = select.id;
    const field = element("span", "field");
    field.append(name, select);
    return field;
  }

  function show() {
    for (const select of document.querySelectorAll("[data-look]")) select.value = current[select.dataset.look];
  }

  /* Returns the look of an image; without one, that of all, whose range is null if every image has its own. */
  function of(image) {
    let [low, high] = ranges[current.range] ?? ranges.run;
    if (current.range === "image") [low, high] = image ? [image.low ?? low, image.high ?? high] : [null, null];
    return { palette: current.palette, curve: current.curve, low, high };
  }

  return { start, of };
})();
