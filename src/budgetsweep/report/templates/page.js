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

  // --- the trial table: made of data, sorted by its headings, filtered by words and state ---
  const table = document.getElementById("trial-table");
  if (!table) return;
  const trials = JSON.parse(document.getElementById("trial-data").textContent).map(
    ([number, href, state, best, cells, remark]) => {
      const shown = [number, state, ...cells.map((cell) => Array.isArray(cell) ? cell[0] : cell), remark];
      const keys = [number, state, ...cells.map((cell) => Array.isArray(cell) ? cell[1] : cell), remark];
      return { href, state, best, shown, keys, words: shown.join(" ").toLowerCase() };
    });

  function row({ href, state, best, shown }) {
    const tr = document.createElement("tr");
    if (best) tr.className = "best";
    shown.forEach((text, column) => {
      const cell = tr.insertCell();
      cell.className = column === 1 ? `state-${state.split(" ")[0]}` : column === shown.length - 1 ? "text" : "n";
      const holder = column === 0 && href ? cell.appendChild(document.createElement("a")) : cell;
      if (holder !== cell) holder.href = href;
      holder.textContent = text;
    });
    return tr;
  }

  const key = (trial, column) => {
    const value = trial.keys[column];
    return value === "" ? null : isNaN(value) ? value : Number(value);
  };
  const compare = (a, b) => typeof a === typeof b && typeof a === "number" ? a - b : String(a).localeCompare(String(b));
  table.querySelectorAll("th button").forEach((button) => button.addEventListener("click", () => {
    const head = button.parentElement, column = head.cellIndex;
    const down = head.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("th").forEach((th) => th.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    trials.sort((one, other) => {
      const a = key(one, column), b = key(other, column);
      // Empty cells stay last either way.
      return a === null || b === null ? (a === null) - (b === null) : (down ? -1 : 1) * compare(a, b);
    });
    show();
  }));

  const words = document.getElementById("words"), state = document.getElementById("state");
  const count = document.getElementById("shown"), all = document.getElementById("all");
  let most = 500;  // a browser lays out thousands of rows slowly
  function show() {
    const wanted = words.value.toLowerCase().split(/\s+/);
    const fitting = trials.filter((t) =>
      (!state.value || t.state === state.value) && wanted.every((word) => t.words.includes(word)));
    const shown = fitting.slice(0, most);
    table.tBodies[0].replaceChildren(...shown.map(row));
    count.textContent = `${shown.length} of ${trials.length} shown`;
    all.hidden = fitting.length <= most;
  }
  words.addEventListener("input", show);
  state.addEventListener("change", show);
  all.addEventListener("click", () => { most = Infinity; show(); });
  show();
})();
