"use strict";
/* Which images are shown, and in which order. */

glpn.choose = (() => {
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  const within = (value, from, to) =>
    (from === null && to === null) || (value !== null && value >= (from ?? -Infinity) && value <= (to ?? Infinity));

  function isWanted(image, wish) {
    if (wish.status === "failed" ? image.status !== "failed" : wish.status === "done" && image.status !== "done") {
      return false;
    }
    if (!wish.words.every((word) => image.sought.includes(word))) return false;
    return within(image.median, wish.medianFrom, wish.medianTo) && within(image.seconds, wish.secondsFrom, wish.secondsTo);
  }

  /* What is unknown comes last, whichever way the rest is sorted; images that are alike are sorted by name. */
  function compare(key, sign) {
    if (key === "name") return (one, other) => sign * (one.place - other.place);
    const value = key === "failure" ? (image) => (image.status === "failed" ? 0 : 1) : (image) => image[key];
    return (one, other) => {
      const [first, second] = [value(one), value(other)];
      if (first === null || second === null) return (first === null) - (second === null) || one.place - other.place;
      return sign * (first - second) || one.place - other.place;
    };
  }

  /* Sorting names is slow, so it is done once, and everything else refers to the place that it gave. */
  function prepare(images) {
    images.sort((one, other) => collator.compare(one.name, other.name));
    images.forEach((image, place) => {
      image.place = place;
      image.sought = `${image.name} ${image.error ?? ""}`.toLowerCase();
    });
  }

  const choose = (images, wish) =>
    images.filter((image) => isWanted(image, wish)).sort(compare(wish.sort, wish.descending ? -1 : 1));

  return { prepare, choose };
})();
