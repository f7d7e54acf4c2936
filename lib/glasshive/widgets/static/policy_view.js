// The browser's part of PolicyView: one table row for each row of the policy. Elements are kept by key, so that a row
// that decides packets lights up in place; a word and a mark say it as well as the colour, and nothing moves for those
// who want no motion (see view.css).

const LIT_MS = 1200;
const HEADS = ["", "direction", "peer", "port/protocol", "verdict", "packets", "rule"];

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

let unique = 0;

function render({ model, el }) {
  const root = make("div", "gh-view gh-policy");
  const heading = make("div", "gh-heading");
  heading.id = `gh-policy-${(unique += 1)}`;
  const title = make("span");
  const status = make("span", "gh-status");
  heading.append(title, status);
  const scroll = make("div", "gh-scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-labelledby", heading.id);
  const empty = make("div", "gh-small");
  const twin = make("details", "gh-twin");
  const twinText = make("pre");
  twin.append(make("summary", "", "The same as text"), twinText);
  root.append(heading, empty, scroll, twin);
  el.appendChild(root);
  const lines = new Map();
  let shape = null;

  function line(row) {
    const element = make("tr");
    const parts = {};
    for (const name of ["mark", "direction", "peer", "port", "verdict", "packets", "rule"]) {
      parts[name] = element.insertCell();
      parts[name].className = name === "packets" ? "gh-number" : `gh-policy-${name}`;
    }
    parts.peer.title = row.labels.join("\n") || "whoever has no row of their own";
    element.dataset.verdict = row.verdict === "allow" ? "allow" : "deny";
    const kept = { element, parts, timer: 0 };
    lines.set(row.key, kept);
    return element;
  }

  function rebuild(rows) {
    for (const { timer } of lines.values()) window.clearTimeout(timer);
    lines.clear();
    const table = make("table", "gh-table");
    const head = table.createTHead().insertRow();
    for (const name of HEADS) {
      const cell = make("th", "", name);
      cell.scope = "col";
      if (!name) cell.setAttribute("aria-label", "decided packets just now");
      head.append(cell);
    }
    const body = table.createTBody();
    for (const row of rows) body.append(line(row));
    scroll.replaceChildren(table);
    scroll.hidden = rows.length === 0;
  }

  function light(kept, moved) {
    kept.parts.mark.textContent = `● +${moved}`;
    kept.element.dataset.lit = "true";
  }

  function unlight(kept) {
    kept.parts.mark.textContent = "";
    delete kept.element.dataset.lit;
  }

  function draw() {
    const { title: words = "", rows = [], count = 0, alt = "", audit, live, problem } = model.get("state") || {};
    const now = JSON.stringify(rows.map((row) => [row.key, row.peer]));
    if (now !== shape) {
      shape = now;
      rebuild(rows);
    }
    title.textContent = words;
    status.textContent = problem ? ` cannot be read: ${problem}` : live ? " live" : "";
    const more = count > rows.length ? `The first ${rows.length} of ${count} rows.` : "";
    empty.textContent = count ? more : "No policy selects this endpoint (or the mode is never): there are no rows to look up, and nothing is refused.";
    empty.hidden = !empty.textContent;
    twinText.textContent = alt;
    for (const row of rows) {
      const kept = lines.get(row.key);
      for (const name of ["direction", "peer", "port", "packets"]) kept.parts[name].textContent = String(row[name]);
      const passes = audit && row.verdict !== "allow" ? ", passes" : "";
      kept.parts.verdict.textContent = `${row.verdict === "allow" ? "✓" : "✗"} ${row.verdict}${passes}`;
      kept.parts.rule.textContent = row.rule || (row.verdict === "allow" ? "" : "no rule allows it");
      kept.element.dataset.verdict = row.verdict === "allow" ? "allow" : "deny";
      if (row.moved > 0) {
        window.clearTimeout(kept.timer);
        light(kept, row.moved);
        kept.timer = live ? window.setTimeout(() => unlight(kept), LIT_MS) : 0;
      } else if (!live && !kept.timer) {
        unlight(kept);
      }
    }
  }

  model.on("change:state", draw);
  draw();
  return () => {
    for (const { timer } of lines.values()) window.clearTimeout(timer);
    model.off("change:state", draw);
  };
}

export default { render };
