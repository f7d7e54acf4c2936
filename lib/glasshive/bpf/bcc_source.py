"""The C text of a cell, and finding the line that a complaint of compiler or verifier is about.

bcc rewrites the text before it compiles it, so line numbers in verifier logs are not the reader's. But it keeps
comments: every line gets a mark with its number at its end, and marks come back in the log.
"""

from __future__ import annotations

import re

from glasshive.bpf import verifier

_MARK = re.compile(r" ?/\*@(\d+)\*/")
_DIAGNOSTIC = re.compile(r"^(?:/virtual/)?main\.c:(\d+):(\d+): (?:fatal )?error: (.*)$", re.MULTILINE)
_ANY_ERROR = re.compile(r"error: (.*)$", re.MULTILINE)
# What the text uses -> (the capability that takes, how to call it).
_NEEDS = (
    (re.compile(r"\bint\s+kprobe__|\bint\s+kretprobe__"), "attach:kprobe", "a function named kprobe__..."),
    (re.compile(r"\bKFUNC_PROBE|\bKRETFUNC_PROBE"), "attach:fentry", "KFUNC_PROBE"),
    (re.compile(r"\bLSM_PROBE"), "attach:lsm", "LSM_PROBE"),
)
# Type of the context argument -> bcc's name of the program type.
_CONTEXTS = {
    "xdp_md": "xdp", "__sk_buff": "sched_cls", "bpf_sock_ops": "sock_ops", "sk_msg_md": "sk_msg",
    "bpf_perf_event_data": "perf_event", "bpf_raw_tracepoint_args": "raw_tracepoint", "pt_regs": "kprobe",
}  # fmt: skip


class Source:
    """A C text whose first line the reader sees as line ``first_line``."""

    def __init__(self, text: str, first_line: int) -> None:
        self.text = text
        self.first_line = first_line
        self.marked = mark(text, first_line)

    def needs(self) -> list[tuple[str, str]]:
        """Give (capability, what asks for it) for hooks that not every kernel has."""
        return [(need, what) for pattern, need, what in _NEEDS if pattern.search(self.text)]

    def kind_of(self, function: str) -> str:
        """Give bcc's name of a function's program type, judged by its first argument; kprobe if nothing tells."""
        found = re.search(rf"\b{re.escape(function)}\s*\(\s*(?:const\s+)?struct\s+(\w+)\s*\*", self.text)
        return _CONTEXTS.get(found[1], "kprobe") if found else "kprobe"

    def unmark(self, log: str) -> str:
        """Take our marks out of a log."""
        return _MARK.sub("", log)

    def marked_line(self, text: str) -> int:
        """Read the line's number off a line that carries our mark, 0 if it carries none."""
        marks = _MARK.findall(text)
        return int(marks[-1]) if marks else 0

    def line(self, number: int) -> str:
        """Give the line that the reader sees as ``number``, without its indentation."""
        lines = self.text.splitlines()
        at = number - self.first_line
        return lines[at].strip() if 0 <= at < len(lines) else ""

    def compiler_complaint(self, log: str) -> str:
        """Say what the compiler's first error is, where, and show the line with a caret below the place."""
        found = _DIAGNOSTIC.search(log)
        if found is None:
            other = _ANY_ERROR.search(log)
            return f"the C text does not compile: {self.unmark(other[1]) if other else 'no reason given'}"
        number = int(found[1]) + self.first_line - 1
        message = f"line {number}: {self.unmark(found[3])}"
        lines = self.text.splitlines()
        at = number - self.first_line
        if not 0 <= at < len(lines):
            return message
        caret = " " * (int(found[2]) - 1) + "^"
        return f"{message}\n  {lines[at].replace(chr(9), ' ')}\n  {caret}"

    def verifier_complaint(self, log: str) -> str:
        """Say what the verifier objects to, at which line of the text."""
        log = log.partition("\nHINT:")[0]  # bcc's advice stands below the verifier's own words
        why = verifier.reason(log)
        marks = _MARK.findall(why.source) or _MARK.findall(_before(log, why.message))
        if not why.message:
            return "no reason given"
        text = f"{why.message}" + (f" at instruction {why.instruction}" if why.instruction else "")
        if marks:
            number = int(marks[-1])
            text += f"; line {number}: {self.line(number)}"
        return text


def _before(log: str, message: str) -> str:
    """Give the part of a log above its reason."""
    return log.partition(message.split("; ", maxsplit=1)[0])[0] if message else log


def mark(text: str, first_line: int) -> str:
    """Put ``/*@N*/`` at the end of every line where a comment may stand."""
    marked, in_comment = [], False
    for number, line in enumerate(text.splitlines(), first_line):
        was_in_comment, in_comment = in_comment, _comment_open_after(line, in_comment)
        plain = line.rstrip()
        may = not (was_in_comment or in_comment or plain.endswith("\\") or plain.lstrip().startswith("#"))
        marked.append(f"{line} /*@{number}*/" if may and plain else line)
    return "\n".join(marked) + "\n"


def _comment_open_after(line: str, in_comment: bool) -> bool:
    """Say whether a block comment is open at the end of a line, given whether one was at its start."""
    at = 0
    while at < len(line):
        if in_comment:
            end = line.find("*/", at)
            if end < 0:
                return True
            at, in_comment = end + 2, False
        elif line.startswith("//", at):
            return False
        elif line.startswith("/*", at):
            at, in_comment = at + 2, True
        elif line[at] == '"':
            close = re.compile(r'(?:[^"\\]|\\.)*"').match(line, at + 1)
            at = close.end() if close else len(line)
        else:
            at += 1
    return in_comment
