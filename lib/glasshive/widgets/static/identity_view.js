// The browser's part of IdentityView: a bubble for each identity, its pods inside. Elements are kept by key, so that a
// pod whose identity changes is seen to move from one bubble to the other (not for those who want no motion).

const MOVE_MS = 700;

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

let unique = 0;

function render({ model, el }) {
  const root = make("div", "gh-view gh-identities");
  const heading = make("div", "gh-heading");
  heading.id = `gh-identities-${(unique += 1)}`;
  const title = make("span");
  const status = make("span", "gh-status");
  heading.append(title, status);
  const board = make("div", "gh-bubbles");
  board.setAttribute("role", "list");
  board.setAttribute("aria-labelledby", heading.id);
  const empty = make("div", "gh-small", "No pod of this lab has an identity yet: run the cell that makes one.");
  const told = make("div", "gh-unseen");
  told.setAttribute("role", "status");
  const twin = make("details", "gh-twin");
  const twinText = make("pre");
  twin.append(make("summary", "", "The same as text"), twinText);
  root.append(heading, board, empty, told, twin);
  el.appendChild(root);
  const bubbles = new Map();
  const pods = new Map();

  function bubble(group) {
    if (!bubbles.has(group.identity)) {
      const box = make("section", "gh-bubble");
      box.setAttribute("role", "listitem");
      const parts = { box, labels: make("div", "gh-bubble-labels"), number: make("div", "gh-small"), pods: make("div", "gh-bubble-pods") };
      box.append(parts.labels, parts.number, parts.pods);
      bubbles.set(group.identity, parts);
    }
    return bubbles.get(group.identity);
  }

  function chip(pod) {
    if (!pods.has(pod.name)) {
      const element = make("span", "gh-chip", pod.name);
      pods.set(pod.name, { element, identity: null });
    }
    return pods.get(pod.name);
  }

  function places() {
    return new Map([...pods].map(([name, { element }]) => [name, element.isConnected ? element.getBoundingClientRect() : null]));
  }

  function glide(before) {
    if (window.matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    for (const [name, { element }] of pods) {
      const from = before.get(name);
      if (!from) continue;
      const to = element.getBoundingClientRect();
      const [x, y] = [from.left - to.left, from.top - to.top];
      if (Math.abs(x) + Math.abs(y) < 1) continue;
      const frames = [{ transform: `translate(${x}px, ${y}px)` }, { transform: "none" }];
      element.animate(frames, { duration: MOVE_MS, easing: "ease-in-out" });
    }
  }

  function draw() {
    const { title: words = "", groups = [], alt = "", live, problem } = model.get("state") || {};
    const before = places();
    const moved = [];
    const seen = new Set();
    const order = groups.map((group) => {
      const parts = bubble(group);
      parts.labels.textContent = group.labels;
      parts.labels.title = group.all.join("\n");
      parts.number.textContent = `identity ${group.identity}`;
      const chips = group.pods.map((pod) => {
        const kept = chip(pod);
        seen.add(pod.name);
        if (kept.identity !== null && kept.identity !== group.identity) moved.push(`${pod.name} is now ${group.labels}`);
        kept.identity = group.identity;
        kept.element.title = `${pod.name} on ${pod.node}`;
        kept.element.dataset.node = pod.node;
        return kept.element;
      });
      if (group.count > group.pods.length) chips.push(make("span", "gh-small", `and ${group.count - group.pods.length} more`));
      parts.pods.replaceChildren(...chips);
      return parts.box;
    });
    const now = [...board.children];
    if (now.length !== order.length || now.some((box, at) => box !== order[at])) board.replaceChildren(...order);
    for (const name of [...pods.keys()]) if (!seen.has(name)) pods.delete(name);
    const kept = new Set(groups.map((group) => group.identity));
    for (const number of [...bubbles.keys()]) if (!kept.has(number)) bubbles.delete(number);
    empty.hidden = groups.length > 0;
    title.textContent = words;
    status.textContent = problem ? ` cannot be read: ${problem}` : live ? " live" : "";
    twinText.textContent = alt;
    if (moved.length) told.textContent = moved.join("; ");
    glide(before);
  }

  model.on("change:state", draw);
  draw();
  return () => model.off("change:state", draw);
}

export default { render };
