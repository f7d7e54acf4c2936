// The browser's part of Question: radio buttons, and both answers marked once the answer is known.

let unique = 0;

function render({ model, el }) {
  const root = document.createElement("fieldset");
  root.className = "gh-view";
  const legend = document.createElement("legend");
  const verdict = document.createElement("div");
  verdict.className = "gh-small";
  verdict.setAttribute("role", "status");
  const group = `gh-question-${(unique += 1)}`;
  el.appendChild(root);

  function choose(option) {
    model.set("state", { ...model.get("state"), chosen: option });
    model.save_changes();
  }

  function draw() {
    const { question, options = [], chosen, answer } = model.get("state") || {};
    legend.textContent = question;
    const rows = options.map((option) => {
      const label = document.createElement("label");
      label.className = "gh-option";
      const radio = document.createElement("input");
      radio.type = "radio";
      radio.name = group;
      radio.checked = option === chosen;
      radio.addEventListener("change", () => choose(option));
      label.append(radio, ` ${option}`);
      if (answer && option === answer) label.append(" ✓ the answer");
      return label;
    });
    if (answer && chosen) verdict.textContent = chosen === answer ? "As you predicted." : "Not as you predicted: read on.";
    const focused = rows.length && root.contains(document.activeElement) ? options.indexOf(chosen) : -1;
    root.replaceChildren(legend, ...rows, verdict);
    if (focused >= 0) rows[focused].querySelector("input").focus();
  }

  model.on("change:state", draw);
  draw();
  return () => model.off("change:state", draw);
}

export default { render };
