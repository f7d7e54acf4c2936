"""Why a packet passed or did not, from what the kernel did: a record of its verdict, and the rules behind it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from glasshive.errors import NotFoundError, UsageError
from glasshive.model.address import Prefix, parse
from glasshive.model.policy import Direction, Verdict
from glasshive.policy.explain import Explanation, explain

if TYPE_CHECKING:
    from glasshive.agent.policy.feature import PolicyFeature

VERDICT_WORDS = {Verdict.ALLOW: "allow", Verdict.DENY_DEFAULT: "deny-default", Verdict.DENY_RULE: "deny-rule"}
"""As records spell them."""


def explained(feature: PolicyFeature, question: dict[str, str]) -> dict[str, Any]:
    """The answer to ``{endpoint, direction, protocol, port, peer, address}``. NotFoundError, UsageError."""
    engine = feature.engine
    if engine is None:
        raise NotFoundError("policies are not known on this node yet")
    try:
        direction = Direction(question["direction"])
        packet = int(question["protocol"]), int(question["port"])
        peer, number = int(question["peer"]), int(question["endpoint"])
    except (KeyError, ValueError) as error:
        raise UsageError(f"the question lacks or misspells something: {error}") from None
    address = question.get("address", "")
    known = (Prefix.host(parse(address)),) if address else ()
    subject, name = feature.subject_of(number)
    try:
        found = explain(engine, subject, direction, packet, peer=peer, addresses=known)
    except KeyError:
        raise NotFoundError(f"endpoint {number} is not judged by this node any more") from None
    return to_json(dataclasses.replace(found, subject=name))


def to_json(found: Explanation) -> dict[str, Any]:
    """An explanation as plain values, with its text."""
    return {
        "subject": str(found.subject),
        "direction": found.direction.value,
        "allowed": found.allowed,
        "verdict": VERDICT_WORDS[found.verdict] if found.verdict is not None else "not-judged",
        "peer": found.peer,
        "peerLabels": found.peer_labels.texts(),
        "entry": str(found.row) if found.row else "",
        "rule": str(found.rule) if found.rule else "",
        "reason": found.reason(),
        "isolatedBy": [str(one) for one in found.isolated_by],
        "nearly": [{"rule": str(one.origin), "why": str(one.why), "text": one.text} for one in found.near],
        "change": found.remedy.text if found.remedy else "",
        "text": found.text(),
    }
