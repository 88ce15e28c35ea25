// Lets a reader sort the page's tables. The page is whole without it: the buttons are made here.
"use strict";

/** The cell of a row in a column of the display; a wide cell stands in all of its columns. */
function cellAt(row, column) {
  let start = 0;
  for (const cell of row.cells) {
    start += cell.colSpan;
    if (column < start) return cell;
  }
  return null;
}

/** What a cell is sorted by: its number, else its text; nothing where it stands for several columns or is a dash. */
function keyOf(row, column) {
  const cell = cellAt(row, column);
  if (!cell || cell.colSpan > 1) return null;
  const shown = cell.cloneNode(true);
  shown.querySelectorAll("small").forEach(part => part.remove());
  const text = shown.textContent.trim();
  const found = text.replaceAll("\u2212", "-").replaceAll(",", "").match(/^[+\u00d7<]?\s*(-?\d+(\.\d+)?)/);
  return found ? Number(found[1]) : text === "\u2013" ? null : text;
}

/** Order two keys: numbers before texts, nothing last whatever the direction. */
function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return sign * (typeof a === "number" ? a - b : a.localeCompare(b));
}

for (const table of document.querySelectorAll("main table")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const next = {none: "descending", descending: "ascending", ascending: "none"}[head.ariaSort ?? "none"];
      heads.forEach(other => other.removeAttribute("aria-sort"));
      if (next !== "none") head.ariaSort = next;
      const sign = next === "descending" ? -1 : 1;
      const keyed = rows.map(row => [keyOf(row, column), row]);
      if (next !== "none") keyed.sort((one, other) => compare(one[0], other[0], sign));
      body.append(...keyed.map(pair => pair[1]));
      table.classList.toggle("sorted", next !== "none");
    });
  });
}
