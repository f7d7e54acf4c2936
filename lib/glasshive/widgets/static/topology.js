// The browser's part of TopologyView. State comes from Python (widgets/topology.py); nothing is fetched.
// Elements are kept by key, so that the focus stays where it is while numbers change ten times a second.

const STATE_MARKS = { ready: "✓", waiting: "…", failed: "!" };

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function markOf(pod) {
  if (pod.ready) return "ready";
  return ["Pending", "ContainerCreating", "Running", "Terminating", "Unknown"].includes(pod.state) ? "waiting" : "failed";
}

function podWords(pod) {
  const words = [`pod ${pod.key}`, pod.ready ? "ready" : pod.state, ...pod.addresses];
  words.push(`${pod.packetsIn} packets in`, `${pod.packetsOut} packets out`);
  return words.join(", ");
}

function bytes(number) {
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (number < 1024 || unit === "GiB") return `${unit === "B" ? number : number.toFixed(1)} ${unit}`;
    number /= 1024;
  }
}

// Everything that needs new elements when it changes; all else is a new value in an old element.
function shapeOf(state) {
  return JSON.stringify([
    state.routing,
    state.world,
    (state.nodes || []).map((node) => [node.name, node.addresses, node.cidrs, node.pods.map((pod) => pod.key)]),
    (state.waiting || []).map((pod) => pod.key),
  ]);
}

function render({ model, el }) {
  const root = make("div", "gh-view");
  root.setAttribute("role", "group");
  el.appendChild(root);
  const pods = new Map();
  let nodes = new Map();
  let order = [];
  let selected = null;
  let shape = null;
  const heading = make("div", "gh-heading");
  const status = make("span", "gh-status");
  const board = make("div", "gh-board");
  const detail = make("div", "gh-detail", "Select a pod to see its addresses and counters.");
  const twin = make("details", "gh-twin");
  const twinText = make("pre");
  twin.append(make("summary", "", "The same as text"), twinText);
  root.append(heading, board, detail, twin);

  function podButton(pod) {
    const button = make("button", "gh-pod");
    button.type = "button";
    const parts = { mark: make("span", "gh-mark"), name: make("span", "gh-name", pod.name), rate: make("span", "gh-rate"), bar: make("span", "gh-bar") };
    for (const part of Object.values(parts)) part.setAttribute("aria-hidden", "true");
    button.append(parts.mark, parts.name, parts.rate, parts.bar);
    button.addEventListener("click", () => select(pod.key));
    button.addEventListener("keydown", onKey);
    pods.set(pod.key, { button, parts, pod });
    order.push(pod.key);
    return button;
  }

  function onKey(event) {
    const at = order.findIndex((key) => pods.get(key).button === event.currentTarget);
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    let target = null;
    if (event.key in steps) target = (at + steps[event.key] + order.length) % order.length;
    if (event.key === "Home") target = 0;
    if (event.key === "End") target = order.length - 1;
    if (target === null) return;
    event.preventDefault();
    event.stopPropagation();
    for (const { button } of pods.values()) button.tabIndex = -1;
    const next = pods.get(order[target]).button;
    next.tabIndex = 0;
    next.focus();
  }

  function select(key) {
    selected = selected === key ? null : key;
    for (const [name, { button }] of pods) button.setAttribute("aria-pressed", String(name === selected));
    // Told once, when chosen; the numbers that follow change silently.
    detail.setAttribute("aria-live", "polite");
    showDetail();
    window.setTimeout(() => detail.setAttribute("aria-live", "off"), 500);
  }

  function showDetail() {
    if (!selected || !pods.has(selected)) {
      detail.textContent = "Select a pod to see its addresses and counters.";
      return;
    }
    const { pod } = pods.get(selected);
    const rows = [
      ["pod", pod.key],
      ["state", pod.ready ? "ready" : pod.state],
      ["addresses", pod.addresses.join(" ") || "none yet"],
      ["in", `${pod.packetsIn} packets, ${bytes(pod.bytesIn)}`],
      ["out", `${pod.packetsOut} packets, ${bytes(pod.bytesOut)}`],
      ["now", `${pod.rate} packets/s`],
      ["restarts", String(pod.restarts)],
    ];
    const list = make("dl");
    for (const [name, value] of rows) list.append(make("dt", "", name), make("dd", "", value));
    detail.replaceChildren(list);
  }

  function nodeBox(node) {
    const box = make("section", "gh-node");
    const title = make("h4", "", node.name);
    const mark = make("span", "gh-mark");
    title.prepend(mark);
    box.append(title, make("div", "gh-small", node.addresses.join(" ")), make("div", "gh-small", node.cidrs.join(" ")));
    const list = make("div", "gh-pods");
    for (const pod of node.pods) list.append(podButton(pod));
    if (node.pods.length === 0) list.append(make("div", "gh-small", "no pods"));
    box.append(list);
    nodes.set(node.name, { box, mark });
    return box;
  }

  function rebuild(state) {
    const focused = order.find((key) => pods.get(key).button === document.activeElement);
    pods.clear();
    nodes = new Map();
    order = [];
    const row = make("div", "gh-nodes");
    for (const node of state.nodes || []) row.append(nodeBox(node));
    if ((state.waiting || []).length) row.append(nodeBox({ name: "on no node", addresses: [], cidrs: [], pods: state.waiting, ready: false }));
    const fabric = make("div", "gh-fabric", `fabric, ${state.routing} routing`);
    const world = make("div", "gh-world", `world outside ${(state.world || []).join(" ")}`);
    board.replaceChildren(world, fabric, row);
    order.forEach((key, at) => (pods.get(key).button.tabIndex = at === 0 ? 0 : -1));
    if (focused && pods.has(focused)) pods.get(focused).button.focus();
  }

  function draw() {
    const state = model.get("state") || {};
    const now = shapeOf(state);
    if (now !== shape) {
      shape = now;
      rebuild(state);
    }
    root.setAttribute("aria-label", (state.alt || "").split("\n")[0]);
    heading.textContent = `cluster ${state.cluster}`;
    status.textContent = state.problem ? ` cannot be read: ${state.problem}` : state.live ? " live" : "";
    heading.append(status);
    twinText.textContent = state.alt || "";
    for (const node of state.nodes || []) {
      const { box, mark } = nodes.get(node.name);
      mark.textContent = node.ready ? STATE_MARKS.ready : STATE_MARKS.waiting;
      box.dataset.state = node.ready ? "ready" : "waiting";
      box.setAttribute("aria-label", `node ${node.name}, ${node.ready ? "ready" : node.reason || "not ready"}`);
    }
    for (const pod of [...(state.nodes || []).flatMap((node) => node.pods), ...(state.waiting || [])]) {
      const kept = pods.get(pod.key);
      kept.pod = pod;
      const condition = markOf(pod);
      kept.parts.mark.textContent = STATE_MARKS[condition];
      kept.parts.rate.textContent = pod.rate > 0 ? `${pod.rate}/s` : "";
      kept.parts.bar.style.width = `${Math.min(100, 20 * Math.log10(1 + pod.rate))}%`;
      kept.button.dataset.state = condition;
      kept.button.dataset.busy = String(pod.rate > 0);
      kept.button.title = podWords(pod);
      kept.button.setAttribute("aria-label", podWords(pod));
      kept.button.setAttribute("aria-pressed", String(pod.key === selected));
    }
    showDetail();
  }

  model.on("change:state", draw);
  draw();
  return () => model.off("change:state", draw);
}

export default { render };
