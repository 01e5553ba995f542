"use strict";

// Clicking a column header sorts the rows of each body by the first number in the cell, or by its text; empty cells come last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (button) button.addEventListener("click", () => sort(table, heads, column));
  });
}

function sort(table, heads, column) {
  const down = heads[column].getAttribute("aria-sort") !== "descending";
  for (const head of heads) head.removeAttribute("aria-sort");
  heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
  for (const body of table.tBodies) {
    const keyed = [...body.rows].map((row) => ({ row, key: value(row.cells[column].textContent) }));
    keyed.sort((a, b) => order(a.key, b.key, down));
    body.append(...keyed.map((one) => one.row));
  }
}

function value(text) {
  const cell = text.trim();
  if (cell === "" || cell === "\u2013") return null;
  const number = cell.replaceAll(",", "").match(/^<?([+-]?[0-9.]+)/);
  return number && !/^[a-z]/i.test(cell) ? Number(number[1]) : cell;
}

function order(a, b, down) {
  if (a === null || b === null) return (a === null) - (b === null);
  const difference = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  return down ? -difference : difference;
}

// Expand all details when printing.
window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => (one.open = true)));
// Open a collapsed note when a link leads to it.
window.addEventListener("hashchange", unfold);
function unfold() {
  const note = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (note && note.tagName === "DETAILS") note.open = true;
}
unfold();

// Score against the truth of the chosen metric, one panel per target.
const script = document.getElementById("clouds");
if (script) {
  const clouds = JSON.parse(script.textContent);
  const select = document.getElementById("metric");
  const show = () => {
    const metric = clouds.metrics[select.selectedIndex];
    document.getElementById("panels").replaceChildren(...clouds.targets.map((target, place) => panel(clouds, metric, target, place)));
  };
  select.addEventListener("change", show);
  show();
}

function element(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, content] of Object.entries(attributes)) made.setAttribute(key, content);
  if (text !== undefined) made.textContent = text;
  return made;
}

function panel(clouds, metric, target, place) {
  const [width, height, left, right, top, bottom] = [260, 200, 34, 250, 22, 172];
  const scores = metric.scores[place];
  const points = scores.map((x, i) => ({ x, y: target.dice[i], e: target.error[i], kind: target.kinds[i], name: target.sources[i] }));
  const drawn = points.filter((one) => one.x !== null);
  const tau = metric.agreement[place];
  const title = `${target.name}: \u03C4w ${tau === null ? "undefined" : tau.toFixed(2)}`;
  const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${metric.name} against ${clouds.measure} on ${title}` });
  svg.append(element("text", { x: left, y: 13 }, title + (drawn.length < points.length ? `, ${points.length - drawn.length} without score` : "")));
  if (!drawn.length) return svg;
  const scale = (low, high, from, to) => (v) => (high > low ? from + ((v - low) / (high - low)) * (to - from) : (from + to) / 2);
  const ends = (values) => [Math.min(...values), Math.max(...values)];
  const [x0, x1] = ends(drawn.map((one) => one.x));
  const [y0, y1] = ends(drawn.flatMap((one) => [one.y - one.e, one.y + one.e]));
  const [sx, sy] = [scale(x0, x1, left + 8, right - 8), scale(y0, y1, bottom - 8, top + 8)];
  svg.append(element("path", { d: `M${left} ${top}V${bottom}H${right}`, fill: "none", stroke: "#999" }));
  for (const [v, anchor] of [[x0, "start"], [x1, "end"]]) svg.append(element("text", { x: sx(v), y: bottom + 12, "text-anchor": anchor }, short(v)));
  for (const v of [y0, y1]) svg.append(element("text", { x: left - 3, y: sy(v) + 3, "text-anchor": "end" }, v.toFixed(2)));
  svg.append(element("text", { x: (left + right) / 2, y: height - 5, "text-anchor": "middle" }, metric.name));
  for (const one of drawn) svg.append(mark(one, sx(one.x), [sy(one.y), sy(one.y - one.e), sy(one.y + one.e)], clouds));
  return svg;
}

function mark(one, x, [y, low, high], { colours, measure }) {
  const colour = colours[one.kind] || colours.other;
  const group = element("g", { stroke: colour, fill: colour });
  group.append(element("title", {}, `${one.name} (${one.kind}): score ${short(one.x)}, ${measure} ${one.y.toFixed(3)} \u00B1 ${one.e.toFixed(3)}`));
  group.append(element("line", { x1: x, x2: x, y1: low, y2: high }));
  if (one.kind === "scratch") group.append(element("path", { d: `M${x - 4} ${y - 4}l8 8m0 -8l-8 8`, fill: "none", "stroke-width": 1.6 }));
  else if (one.kind === "short") group.append(element("path", { d: `M${x} ${y - 5}l4.5 8h-9z` }));
  else group.append(element("circle", { cx: x, cy: y, r: 3.5 }));
  return group;
}

function short(v) {
  return Number(v.toPrecision(3)).toString();
}
