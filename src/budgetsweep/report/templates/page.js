"use strict";
(() => {
  // --- figures, in the page's colours ---
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const config = { responsive: true, displaylogo: false, displayModeBar: false };

  function colours(layout) {
    const set = {
      "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
      "font.color": style("--text"),
      "hoverlabel.bgcolor": style("--panel"), "hoverlabel.font.color": style("--text"),
      "hoverlabel.bordercolor": style("--line"),
    };
    for (const axis of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
      for (const what of ["gridcolor", "linecolor", "zerolinecolor"]) set[`${axis}.${what}`] = style("--line");
    }
    return set;
  }

  function put(node, [first, ...rest], value) {
    if (rest.length) put(node[first] ??= {}, rest, value);
    else node[first] = value;
  }

  function draw(plot) {
    const spec = JSON.parse(document.getElementById(plot.id + "-data").textContent);
    const small = plot.clientWidth < 600;
    spec.layout.autosize = true;
    spec.layout.margin = Object.assign({ l: 10, r: 15, t: 15, b: 40 }, spec.layout.margin);
    spec.layout.font = { family: "system-ui, sans-serif", size: small ? 11 : 13 };
    spec.layout.legend = Object.assign({ orientation: "h", y: 1.02, yanchor: "bottom", x: 0, xanchor: "left" }, spec.layout.legend);
    spec.layout.dragmode = small ? false : spec.layout.dragmode;
    for (const [path, value] of Object.entries(colours(spec.layout))) put(spec.layout, path.split("."), value);
    Plotly.newPlot(plot, spec.data, spec.layout, config);
  }

  const plots = [...document.querySelectorAll(".plot")];
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((e) => e.isIntersecting)) {
      watcher.unobserve(entry.target);
      draw(entry.target);
    }
  }, { rootMargin: "800px" });
  plots.forEach((plot) => watcher.observe(plot));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    plots.filter((p) => p.layout).forEach((p) => Plotly.relayout(p, colours(p.layout)));
  });
  addEventListener("beforeprint", () => plots.filter((p) => !p.layout).forEach(draw));

  // --- the trial table: sorted by its headings, filtered by words and state ---
  const table = document.getElementById("trial-table");
  if (!table) return;
  const body = table.tBodies[0];
  const key = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.sort ?? cell.textContent.trim();
    return text === "" ? null : isNaN(text) ? text : Number(text);
  };
  const compare = (a, b) => typeof a === typeof b && typeof a === "number" ? a - b : String(a).localeCompare(String(b));

  table.querySelectorAll("th button").forEach((button) => button.addEventListener("click", () => {
    const head = button.parentElement;
    const down = head.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("th").forEach((th) => th.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows].map((row) => [key(row, head.cellIndex), row]);
    // Empty cells stay last either way.
    rows.sort(([a], [b]) => a === null || b === null ? (a === null) - (b === null) : (down ? -1 : 1) * compare(a, b));
    body.append(...rows.map(([, row]) => row));
    filter();
  }));

  const words = document.getElementById("words"), state = document.getElementById("state");
  const count = document.getElementById("shown"), all = document.getElementById("all");
  let most = 500;  // a browser lays out thousands of rows slowly
  function filter() {
    const wanted = words.value.toLowerCase().split(/\s+/);
    let fitting = 0;
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      const fits = (!state.value || row.dataset.state === state.value) && wanted.every((w) => text.includes(w));
      fitting += fits;
      row.hidden = !fits || fitting > most;
    }
    count.textContent = `${Math.min(fitting, most)} of ${body.rows.length} shown`;
    all.hidden = fitting <= most;
  }
  words.addEventListener("input", filter);
  state.addEventListener("change", filter);
  all.addEventListener("click", () => { most = Infinity; filter(); });
  filter();
})();
