// The browser's part of Panel: it listens to the panel's server (SSE) without the notebook's kernel in between.
// Tasks are a tree: Tab enters it, up and down move, right and left (or Enter) open and close a task.
// A screen reader hears a sentence about what changed, at most every five seconds.

const CALM_MS = 5000;
const SIGNS = { pass: "✓", fail: "✗", error: "!", timeout: "!", skipped: "–", "": "…" };

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function number(value) {
  return Number.isInteger(value) ? String(value) : value.toFixed(1);
}

function render({ model, el }) {
  const { board: first, url, token, twin } = model.get("state");
  let board = first;
  let source = null;
  let ended = "";
  let focus = "";
  const open = new Set();
  const said = { pending: "", at: 0, timer: 0 };

  const root = make("section", "gh-view gh-panel");
  root.setAttribute("aria-label", `progress of lab ${board.lab}: ${board.title}`);
  const head = make("div", "gh-panel-head");
  const title = make("div", "gh-heading", `Lab ${board.lab}: ${board.title}`);
  const sum = make("span", "gh-small");
  const meter = make("progress", "gh-meter");
  meter.setAttribute("aria-label", "points");
  head.append(title, meter, sum);
  const tree = make("ul", "gh-tasks");
  tree.setAttribute("role", "tree");
  tree.setAttribute("aria-label", "tasks");
  const foot = make("div", "gh-small gh-foot");
  const live = make("div", "gh-unseen");
  live.setAttribute("role", "status");
  live.setAttribute("aria-live", "polite");
  root.append(head, tree, foot, live);
  el.appendChild(root);

  // One sentence at a time; what changes meanwhile is told together.
  function say(sentence) {
    said.pending = sentence;
    if (said.timer) return;
    said.timer = setTimeout(() => {
      live.textContent = said.pending;
      said.at = Date.now();
      said.timer = 0;
    }, Math.max(0, said.at + CALM_MS - Date.now()));
  }

  function differences(before, after) {
    const old = new Map(before.tasks.map((task) => [task.id, task.word]));
    return after.tasks.filter((task) => old.get(task.id) !== task.word).map((task) => `${task.title}: ${task.word}`);
  }

  function points(list) {
    return list.reduce((total, task) => [total[0] + task.earned, total[1] + task.points], [0, 0]);
  }

  function draw() {
    const [earned, all] = points(board.tasks);
    const done = board.tasks.filter((task) => task.verdict === "pass").length;
    meter.max = all || 1;
    meter.value = earned;
    sum.textContent = `${done} of ${board.tasks.length} done, ${number(earned)} of ${all} points`;
    const held = tree.contains(document.activeElement); // drawing anew must not take the focus away
    tree.replaceChildren(...board.tasks.map(drawTask));
    rove(held);
    status();
  }

  function drawTask(task) {
    const item = make("li", "gh-task");
    item.setAttribute("role", "treeitem");
    item.dataset.key = task.id;
    item.dataset.verdict = task.verdict;
    item.setAttribute("aria-expanded", String(open.has(task.id)));
    item.setAttribute("aria-label", `${task.title}: ${task.word}, ${number(task.earned)} of ${task.points} points`);
    const row = make("div", "gh-task-row");
    row.append(
      make("span", "gh-twist", open.has(task.id) ? "▾" : "▸"),
      make("span", "gh-sign", SIGNS[task.verdict] || "…"),
      make("span", "gh-task-title", task.title),
      make("span", "gh-word", task.word),
      make("span", "gh-rate", `${number(task.earned)} / ${task.points}`),
    );
    row.addEventListener("click", () => {
      focus = task.id;
      toggle(task.id);
    });
    item.append(row);
    if (open.has(task.id)) {
      const group = make("ul", "gh-checks");
      group.setAttribute("role", "group");
      group.append(...task.checks.map((check) => drawCheck(task, check)));
      if (!task.checks.length) group.append(make("li", "gh-small", "not looked at yet"));
      item.append(group);
    }
    return item;
  }

  function drawCheck(task, check) {
    const item = make("li", "gh-check");
    item.setAttribute("role", "treeitem");
    item.dataset.key = `${task.id}/${check.id}`;
    item.dataset.verdict = check.verdict;
    const words = check.facts.map(([word, text]) => `${word}: ${text}`);
    item.setAttribute("aria-label", [`${check.verdict}: ${check.title}`, ...words].join(". "));
    const row = make("div", "gh-check-row");
    row.append(
      make("span", "gh-sign", SIGNS[check.verdict] || "…"),
      make("span", "", check.title),
    );
    item.append(row);
    if (check.facts.length && check.verdict !== "skipped") {
      const list = make("dl", "gh-facts");
      for (const [word, text] of check.facts) list.append(make("dt", "", word), make("dd", "", text));
      item.append(list);
      row.append(make("span", "gh-rate", `${check.weight} %`));
    } else if (check.verdict === "skipped") {
      row.append(make("span", "gh-rate", "not assessed yet")); // why is in its label, and above it
    }
    return item;
  }

  function items() {
    return [...tree.querySelectorAll("[role=treeitem]")];
  }

  // One element of the tree is in the order of Tab; the arrow keys choose which.
  function rove(take = false) {
    const all = items();
    const at = all.find((one) => one.dataset.key === focus) || all[0];
    for (const one of all) one.tabIndex = one === at ? 0 : -1;
    if (!at) return;
    focus = at.dataset.key;
    if (take) at.focus();
  }

  tree.addEventListener("focusin", (event) => {
    const item = event.target.closest("[role=treeitem]");
    if (item) focus = item.dataset.key;
  });

  function toggle(key, want) {
    const show = want ?? !open.has(key);
    if (show) open.add(key);
    else open.delete(key);
    draw();
    rove(true);
  }

  tree.addEventListener("keydown", (event) => {
    const all = items();
    const at = all.findIndex((one) => one.dataset.key === focus);
    const [task, check] = focus.split("/");
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 };
    if (event.key in steps) focus = all[Math.min(all.length - 1, Math.max(0, steps[event.key]))].dataset.key;
    else if (event.key === "ArrowRight") open.add(task);
    else if (event.key === "ArrowLeft" && check) focus = task;
    else if (event.key === "ArrowLeft") open.delete(task);
    else if (event.key === "Enter" || event.key === " ") {
      if (open.has(task)) open.delete(task);
      else open.add(task);
      focus = task;
    } else return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab has uses of its own for these keys
    draw();
    rove(true);
  });

  function status() {
    let words = "watching the real state";
    if (ended) words = `no longer watching: ${ended}; run the cell again`;
    else if (board.problem) words = `cannot look: ${board.problem}`;
    else if (!source || source.readyState === EventSource.CONNECTING) words = "connecting to the panel's server ...";
    root.dataset.state = ended || board.problem ? "stopped" : "watching";
    if (foot.textContent !== words) foot.textContent = twin ? `${words} · in a terminal: ${twin}` : words;
  }

  function show(next) {
    const news = differences(board, next);
    board = next;
    draw();
    if (news.length) say(`${news.join(". ")}. ${sum.textContent}.`);
  }

  function listen() {
    if (source || ended) return;
    source = new EventSource(`${url}/events?token=${encodeURIComponent(token)}`);
    source.addEventListener("board", (event) => show(JSON.parse(event.data)));
    source.addEventListener("look", () => status());
    source.addEventListener("end", (event) => {
      ended = JSON.parse(event.data).why;
      stop();
      say(`The panel has stopped: ${ended}.`);
    });
    source.onerror = () => {
      // Refused or unreachable for good: the server has ended, or the browser is on another machine.
      if (source && source.readyState === EventSource.CLOSED) {
        ended = "its server cannot be reached from this browser";
        stop();
      }
      status();
    };
    source.onopen = status;
    status();
  }

  function stop() {
    if (source) source.close();
    source = null;
    status();
  }

  // Who does not see the page need not be told; the server rests then.
  function visibility() {
    if (document.hidden) stop();
    else listen();
  }
  document.addEventListener("visibilitychange", visibility);
  draw();
  visibility();
  return () => {
    document.removeEventListener("visibilitychange", visibility);
    clearTimeout(said.timer);
    stop();
  };
}

export default { render };
