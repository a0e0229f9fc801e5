"use strict";
/* Filters and sorts the images. */

glpn.choose = (() => {
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  const within = (value, from, to) =>
    (from === null && to === null) || (value !== null && value >= (from ?? -Infinity) && value <= (to ?? Infinity));

  function matches(image, filter) {
    if (filter.status === "failed" ? image.status !== "failed" : filter.status === "done" && image.status !== "done") {
      return false;
    }
    if (!filter.words.every((word) => image.searchText.includes(word))) return false;
    return within(image.median, filter.medianFrom, filter.medianTo) && within(image.seconds, filter.secondsFrom, filter.secondsTo);
  }

  /* Images without a value come last in both directions; ties are sorted by name. */
  function compare(key, sign) {
    if (key === "name") return (one, other) => sign * (one.position - other.position);
    const value = key === "failure" ? (image) => (image.status === "failed" ? 0 : 1) : (image) => image[key];
    return (one, other) => {
      const [first, second] = [value(one), value(other)];
      if (first === null || second === null) return (first === null) - (second === null) || one.position - other.position;
      return sign * (first - second) || one.position - other.position;
    };
  }

  /* Comparing names is slow, so they are sorted once; afterwards only their positions are compared. */
  function prepare(images) {
    images.sort((one, other) => collator.compare(one.name, other.name));
    images.forEach((image, position) => {
      image.position = position;
      image.searchText = `${image.name} ${image.error ?? ""}`.toLowerCase();
    });
  }

  const choose = (images, filter) =>
    images.filter((image) => matches(image, filter)).sort(compare(filter.sort, filter.descending ? -1 : 1));

  return { prepare, choose };
})();
