"""A question to be answered before a cell is run: a prediction. Choosing needs no mouse; nothing is graded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from glasshive.widgets.view import STATIC, View


class Question(View):
    """A question with options. ``chosen`` is what the learner picked, '' before."""

    _esm = STATIC / "question.js"
    _css = STATIC / "view.css"

    def __init__(self, question: str, options: Sequence[str]) -> None:
        self.question = question
        self.options = tuple(options)
        text = "\n".join([f"predict: {question}", *(f"  - {option}" for option in options)])
        super().__init__({"question": question, "options": list(options), "chosen": "", "answer": ""}, text)

    @property
    def chosen(self) -> str:
        """What the learner picked, '' before."""
        return str(self.state.get("chosen", ""))

    def on_chosen(self, told: Callable[[str, str], None]) -> None:
        """Have ``told(chosen, answer)`` called whenever something is picked, and when the answer is revealed."""

        def changed(change: Any) -> None:
            was, now = change["old"], change["new"]
            facts = str(now.get("chosen", "")), str(now.get("answer", ""))
            if facts[0] and facts != (str(was.get("chosen", "")), str(was.get("answer", ""))):
                told(*facts)

        self.observe(changed, names="state")

    def choose(self, option: str) -> None:
        """Pick an option, as a click does."""
        self.state = {**self.state, "chosen": option}

    def reveal(self, answer: str) -> str:
        """Say the answer beside what was predicted; the view marks both."""
        self.state = {**self.state, "answer": answer}
        if not self.chosen:
            return f"the answer: {answer} (no prediction was made)"
        if self.chosen == answer:
            return f"as predicted: {answer}"
        return f"predicted: {self.chosen}; it is: {answer}"
