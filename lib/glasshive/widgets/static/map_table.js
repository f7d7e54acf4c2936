// The browser's part of MapTable: sorting by column heads, a search field, at most the rows Python sent.

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

let unique = 0;

function render({ model, el }) {
  const root = make("div", "gh-view");
  const caption = make("div", "gh-heading");
  caption.id = `gh-map-${(unique += 1)}`;
  const search = make("input", "gh-search");
  search.type = "search";
  search.placeholder = "search rows";
  search.setAttribute("aria-label", "keep rows that contain these words");
  const shown = make("span", "gh-small");
  shown.setAttribute("role", "status");
  const scroll = make("div", "gh-scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-labelledby", caption.id);
  const tools = make("div", "gh-tools");
  tools.append(search, shown);
  root.append(caption, tools, scroll);
  el.appendChild(root);
  let sort = { column: -1, down: false };

  function draw() {
    const { title, columns = [], rows = [], count = 0 } = model.get("state") || {};
    caption.textContent = title;
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const kept = rows.filter((row) => {
      const line = row.join(" ").toLowerCase();
      return words.every((word) => line.includes(word));
    });
    if (sort.column >= 0) kept.sort((a, b) => compare(a[sort.column], b[sort.column]) * (sort.down ? -1 : 1));
    const sent = rows.length < count ? `, the first ${rows.length} of ${count} are here` : "";
    shown.textContent = `${kept.length} of ${rows.length} rows${sent}`;
    const table = make("table", "gh-table");
    const head = table.createTHead().insertRow();
    columns.forEach((name, at) => {
      const cell = make("th");
      cell.scope = "col";
      const direction = sort.column === at ? (sort.down ? "descending" : "ascending") : "none";
      cell.setAttribute("aria-sort", direction);
      const button = make("button", "gh-sort", name + { ascending: " ▲", descending: " ▼", none: "" }[direction]);
      button.type = "button";
      button.addEventListener("click", () => {
        sort = { column: at, down: sort.column === at && !sort.down };
        draw();
        root.querySelectorAll(".gh-sort")[at].focus();
      });
      cell.append(button);
      head.append(cell);
    });
    const body = table.createTBody();
    for (const row of kept) {
      const line = body.insertRow();
      for (const value of row) {
        const cell = line.insertCell();
        cell.textContent = value === null ? "" : String(value);
        if (typeof value === "number") cell.className = "gh-number";
      }
    }
    scroll.replaceChildren(table);
  }

  search.addEventListener("input", draw);
  model.on("change:state", draw);
  draw();
  return () => model.off("change:state", draw);
}

export default { render };
