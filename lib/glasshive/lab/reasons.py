"""Why a connection passes or not, in words that are the same from run to run.

What the objects say is a trace (``cluster.policy_trace``); what the kernels said is their records. Numbers of policies
and identities differ between clusters and mean nothing to a reader: they are left out, or told by labels.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

_WIDTH = 100
_FIELD = re.compile(r"^  (?:(row|because|nearly|to allow it|to deny it) +| {13})(.*)$")
"""A field of a trace, or one more line of the field before."""
_VERDICTS = {
    "allow": "let it pass",
    "deny-default": "refused it: no rule allows it",
    "deny-rule": "refused it: a rule denies it",
}


def told(text: str, namespace: str, labels: Mapping[int, str]) -> str:
    """A trace's text, wrapped, without numbers; names of the lab's own namespace in short."""
    text = text.replace(f"{namespace}/", "").replace(f", k8s:io.kubernetes.pod.namespace={namespace}", "")
    text = re.sub(r"\bpolicy \d+ ", "", text)
    text = re.sub(r"\bidentity (\d+)", lambda found: _named(labels, int(found[1])), text)
    return "\n".join(_wrapped(line) for line in text.splitlines())


def judgements(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the kernels said of the last such packet, one line for each side that judged it."""
    same = [row for row in records if _flow(row) == _flow(records[-1])]
    newest: dict[str, Mapping[str, Any]] = {str(row["policyDirection"]): row for row in same}
    lines = []
    for side in sorted(newest):
        row = newest[side]
        word = _VERDICTS.get(str(row["verdict"]), str(row["verdict"]))
        audit = "; audit mode let it pass all the same" if row.get("audited") else ""
        lines.append(f"the last such packet, {side} at {row['node']}: policy {word}{audit}")
    return lines or ["policy has judged no such packet so far"]


def _flow(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("protocol", "source", "sourcePort", "destination", "destinationPort"))


def _named(labels: Mapping[int, str], identity: int) -> str:
    return f"identity of {labels[identity]}" if identity in labels else "the peer's identity"


def _wrapped(line: str) -> str:
    found = _FIELD.match(line)
    if not found:
        return line
    head = f"  {found[1] or '':<13}"
    return textwrap.fill(found[2], _WIDTH, initial_indent=head, subsequent_indent=" " * len(head),
                         break_long_words=False, break_on_hyphens=False)  # fmt: skip
