// The browser's part of ProgramView: source on the left, instructions on the right, maps and the verifier's log below.
// Source lines that made code are options of a list box: Tab enters it, arrow keys move, the instructions follow.

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

let unique = 0;

// "instruction walk" shows what the verifier knew after each step; "as it runs" what the kernel made of the program.
function stepsOf(program, kind) {
  return (kind === "walk" ? program.walk : program.translated) || [];
}

function facts(program) {
  const { walked, limit, total_states: states } = program.statistics || {};
  const words = [`program ${program.name}`];
  if (program.kind) words.push(program.hook ? `${program.kind}, ${program.hook}` : program.kind);
  if (program.translated.length) words.push(`${program.translated.length} instructions`);
  if (walked) words.push(`the verifier walked ${walked} of at most ${limit.toLocaleString("en")}`);
  if (states) words.push(`${states} states kept`);
  return words.join(" · ");
}

function render({ model, el }) {
  const id = `gh-program-${(unique += 1)}`;
  const root = make("section", "gh-view gh-program");
  root.setAttribute("aria-labelledby", id);
  el.appendChild(root);
  let chosen = { line: 0, program: 0, kind: "" };

  function draw() {
    const state = model.get("state") || {};
    const { functions = [], refused, source = [], firstLine = 1 } = state;
    const program = functions[chosen.program] || { name: "", translated: [], walk: [], statistics: {} };
    const kind = chosen.kind || (program.translated.length ? "translated" : "walk");
    const steps = stepsOf(program, kind);
    const heading = make("div", "gh-heading", state.name);
    heading.id = id;
    heading.append(make("span", "gh-small", `  ${state.place}`));
    const verdict = make("div", refused ? "gh-verdict gh-refused" : "gh-verdict gh-accepted");
    verdict.append(make("strong", "", refused ? `✗ refused by the ${refused.by}` : "✓ loaded"));
    verdict.append(` ${refused ? `${refused.line ? `at line ${refused.line}: ` : ""}${refused.why}` : ""}`);
    const panes = make("div", "gh-panes");
    panes.append(drawSource(source, firstLine, steps, refused), drawSteps(steps, kind, program));
    root.replaceChildren(heading, verdict, drawChoices(functions, kind, program), panes);
    if (program.name && (program.kind || program.statistics.walked)) root.append(make("div", "gh-small", facts(program)));
    if ((state.maps || []).length) root.append(drawMaps(state.maps));
    const log = program.log || state.log;
    if (log) root.append(drawLog(log, refused));
    mark();
  }

  function drawChoices(functions, kind, program) {
    const bar = make("div", "gh-tools");
    const choice = (words, pressed, act) => {
      const button = make("button", "gh-choice", words);
      button.type = "button";
      button.setAttribute("aria-pressed", String(pressed));
      button.addEventListener("click", () => {
        act();
        draw();
        const again = [...root.querySelectorAll(".gh-choice")].find((one) => one.textContent === words);
        if (again) again.focus();
      });
      bar.append(button);
    };
    if (functions.length > 1) {
      functions.forEach((one, at) => choice(one.name, at === chosen.program, () => (chosen = { line: 0, program: at, kind: "" })));
    }
    if (program.translated.length && program.walk.length) {
      choice("as it runs", kind === "translated", () => (chosen.kind = "translated"));
      choice("the verifier's walk", kind === "walk", () => (chosen.kind = "walk"));
    }
    return bar;
  }

  function drawSource(source, firstLine, steps, refused) {
    const coded = new Set(steps.map((step) => step[2]));
    const list = make("div", "gh-code gh-scroll");
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-label", "source lines; the arrow keys choose one");
    list.tabIndex = 0;
    source.forEach((words, at) => {
      const number = firstLine + at;
      const row = make("div", "gh-line");
      row.setAttribute("role", "option");
      row.dataset.line = number;
      row.id = `${id}-${number}`;
      row.append(make("span", "gh-number", String(number)), make("span", "gh-text", words || " "));
      if (coded.has(number)) row.dataset.coded = "true";
      if (refused && refused.line === number) {
        row.dataset.refused = "true";
        row.firstChild.textContent = `✗ ${number}`;
        row.setAttribute("aria-label", `line ${number}, refused here: ${words.trim()}`);
      }
      row.addEventListener("click", () => choose(number));
      list.append(row);
    });
    list.addEventListener("keydown", (event) => {
      const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!move && event.key !== "Home" && event.key !== "End") return;
      event.preventDefault();
      event.stopPropagation();
      const lines = [...list.querySelectorAll("[data-coded], [data-refused]")].map((one) => Number(one.dataset.line));
      if (!lines.length) return;
      const at = lines.indexOf(chosen.line);
      const next = { Home: 0, End: lines.length - 1 }[event.key] ?? Math.min(lines.length - 1, Math.max(0, at + move));
      choose(lines[next]);
    });
    return list;
  }

  function drawSteps(steps, kind, program) {
    const pane = make("div", "gh-code gh-scroll");
    pane.tabIndex = 0;
    pane.setAttribute("role", "region");
    pane.setAttribute("aria-label", kind === "walk" ? "what the verifier walked" : "instructions as they run");
    const table = make("table", "gh-steps");
    const head = table.createTHead().insertRow();
    for (const name of kind === "walk" ? ["line", "no.", "instruction", "known after it"] : ["line", "no.", "instruction"]) {
      const cell = make("th", "", name);
      cell.scope = "col";
      head.append(cell);
    }
    const body = table.createTBody();
    for (const [number, words, line, known] of steps) {
      const row = body.insertRow();
      row.dataset.line = line;
      row.append(make("td", "gh-number", line ? String(line) : ""), make("td", "gh-number", String(number)), make("td", "", words));
      if (kind === "walk") row.append(make("td", "gh-known", known));
      row.addEventListener("click", () => choose(line));
    }
    pane.append(table);
    if (!steps.length) pane.append(make("p", "gh-small", "no instructions: the compiler made none of this text"));
    if (program.more) pane.append(make("p", "gh-small", `and ${program.more} more`));
    return pane;
  }

  function drawMaps(maps) {
    const table = make("table", "gh-table");
    table.append(make("caption", "gh-small", "maps"));
    const head = table.createTHead().insertRow();
    for (const name of ["map", "type", "key, bytes", "value, bytes", "room for"]) {
      const cell = make("th", "", name);
      cell.scope = "col";
      head.append(cell);
    }
    const body = table.createTBody();
    for (const facts of maps) {
      const row = body.insertRow();
      for (const value of facts) row.append(make("td", typeof value === "number" ? "gh-number" : "", String(value)));
    }
    return table;
  }

  function drawLog(log, refused) {
    const details = make("details", "gh-log");
    details.open = Boolean(refused);
    details.append(make("summary", "", "the verifier's own words"));
    const pre = make("pre", "gh-scroll");
    pre.tabIndex = 0;
    pre.setAttribute("aria-label", "log");
    const why = refused ? refused.why.split("; ") : [];
    for (const line of log.split("\n")) {
      const telling = why.some((words) => words && line.includes(words));
      pre.append(make(telling ? "strong" : "span", telling ? "gh-telling" : "", `${line}\n`));
    }
    details.append(pre);
    return details;
  }

  function choose(line) {
    chosen.line = chosen.line === line ? 0 : line;
    mark();
  }

  function mark() {
    const list = root.querySelector("[role=listbox]");
    for (const one of root.querySelectorAll("[data-line]")) {
      const on = chosen.line > 0 && Number(one.dataset.line) === chosen.line;
      one.classList.toggle("gh-chosen", on);
      if (one.getAttribute("role") === "option") one.setAttribute("aria-selected", String(on));
    }
    if (chosen.line) list.setAttribute("aria-activedescendant", `${id}-${chosen.line}`);
    else list.removeAttribute("aria-activedescendant");
    const { refused } = model.get("state") || {};
    const line = chosen.line || (refused && refused.line);
    for (const pane of root.querySelectorAll(".gh-code")) {
      const target = line && pane.querySelector(`[data-line="${line}"]`);
      if (target) pane.scrollTop = Math.max(0, target.offsetTop - pane.clientHeight / 3);
    }
  }

  model.on("change:state", draw);
  draw();
  requestAnimationFrame(mark); // sizes are known only now
  return () => model.off("change:state", draw);
}

export default { render };
