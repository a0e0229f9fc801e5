"use strict";
/* Which pictures are shown, and in which order. */

glpn.choose = (() => {
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  const within = (value, from, to) =>
    (from === null && to === null) || (value !== null && value >= (from ?? -Infinity) && value <= (to ?? Infinity));

  function isWanted(picture, wish) {
    if (wish.status === "failed" ? picture.status !== "failed" : wish.status === "done" && picture.status !== "done") {
      return false;
    }
    if (!wish.words.every((word) => picture.sought.includes(word))) return false;
    return within(picture.median, wish.medianFrom, wish.medianTo) && within(picture.seconds, wish.secondsFrom, wish.secondsTo);
  }

  /* What is unknown comes last, whichever way the rest is sorted; pictures that are alike are sorted by name. */
  function compare(key, sign) {
    if (key === "name") return (one, other) => sign * (one.place - other.place);
    const value = key === "failure" ? (picture) => (picture.status === "failed" ? 0 : 1) : (picture) => picture[key];
    return (one, other) => {
      const [first, second] = [value(one), value(other)];
      if (first === null || second === null) return (first === null) - (second === null) || one.place - other.place;
      return sign * (first - second) || one.place - other.place;
    };
  }

  /* Sorting names is slow, so it is done once, and everything else refers to the place that it gave. */
  function prepare(pictures) {
    pictures.sort((one, other) => collator.compare(one.name, other.name));
    pictures.forEach((picture, place) => {
      picture.place = place;
      picture.sought = `${picture.name} ${picture.error ?? ""}`.toLowerCase();
    });
  }

  const choose = (pictures, wish) =>
    pictures.filter((picture) => isWanted(picture, wish)).sort(compare(wish.sort, wish.descending ? -1 : 1));

  return { prepare, choose };
})();
