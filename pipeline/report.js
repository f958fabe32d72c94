"use strict";
// Charts: each figure holds its Vega-Lite specification.
window.drawn = Promise.all(Array.from(document.querySelectorAll("figure.chart"), (figure) => {
  const spec = JSON.parse(figure.querySelector("script").textContent);
  if (figure.clientWidth < 600) {
    Object.assign(spec.config.legend, { columns: 1, layout: { direction: "vertical", anchor: "start" } });
  }
  return vegaEmbed(figure.querySelector(".drawn"), spec, { renderer: "svg", actions: false });
}));

// A list above charts that says what they show: a parameter of theirs.
for (const list of document.querySelectorAll("select[data-signal]")) {
  const show = () => window.drawn.then((charts) => charts.forEach(({ view }, place) => {
    const figure = document.querySelectorAll("figure.chart")[place];
    if (list.dataset.charts.split(" ").includes(figure.id)) view.signal(list.dataset.signal, list.value).runAsync();
  }));
  list.addEventListener("change", show);
  show(); // a page that is loaded again keeps what was chosen
}

// The table: sorted by a click on a column's name, filtered by words, with fewer or all columns.
for (const table of document.querySelectorAll("table.sorted")) {
  const body = table.tBodies[0];
  const heads = Array.from(table.tHead.rows[0].cells);
  const valueOf = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const number = parseFloat(text.replace(/,/g, ""));
    return Number.isNaN(number) ? text.toLowerCase() : number;
  };
  const compare = (a, b) => {
    if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
    return typeof a === "number" ? -1 : 1; // what is not known comes last
  };
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = Array.from(body.rows);
    rows.sort((a, b) => compare(valueOf(a, column), valueOf(b, column)) * (down ? -1 : 1));
    body.append(...rows);
  }));
  document.getElementById("filter").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of body.rows) {
      const text = row.cells[0].textContent.toLowerCase() + " " + row.cells[1].textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
  document.getElementById("more")?.addEventListener("click", (event) => {
    const all = table.classList.toggle("whole");
    event.target.setAttribute("aria-pressed", String(all));
  });
}
