"use strict";
/* Formats names and numbers. All text of the user is set as textContent, so it never becomes markup. */

glpn.text = (() => {
  const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;
  const BYTE_IN_A_NAME = /[\udc80-\udcff]/;

  /* Escapes characters that are invisible or reorder text: direction marks, line breaks, invalid Unicode. */
  function printable(text) {
    return text.replace(HIDDEN, (character) => "\\u" + character.codePointAt(0).toString(16).padStart(4, "0"));
  }

  /* Returns the URL of a file. In a name that is not valid Unicode, Python represents the bytes as lone surrogates. */
  function toUrl(path) {
    return path.split("/").map((part) => [...part].map((character) => {
      if (BYTE_IN_A_NAME.test(character) && character.length === 1) {
        return "%" + (character.charCodeAt(0) - 0xdc00).toString(16);
      }
      try { return encodeURIComponent(character); } catch { return "%EF%BF%BD"; }
    }).join("")).join("/");
  }

  function element(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  /* Returns an element with a file name and its folder, in a lighter color and shortened first. */
  function name(path) {
    const cut = path.lastIndexOf("/") + 1;
    const whole = element("bdi", "name");
    whole.title = printable(path);
    if (cut) whole.append(element("span", "folder", printable(path.slice(0, cut))));
    whole.append(element("span", "file", printable(path.slice(cut))));
    return whole;
  }

  const digits = (value) => (value < 10 ? 2 : value < 100 ? 1 : 0);
  const number = (value) => value.toFixed(digits(Math.abs(value)));
  const meters = (value, approximate) => (Number.isFinite(value) ? `${approximate ? "≈ " : ""}${number(value)} m` : "unknown");
  const seconds = (value) => (value < 60 ? `${value.toFixed(value < 10 ? 2 : 1)} s` : `${(value / 60).toFixed(1)} min`);
  const count = (value) => value.toLocaleString("en");

  return { printable, toUrl, element, name, number, meters, seconds, count };
})();
