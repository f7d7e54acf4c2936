"""What the engine can be told: values, to be applied one by one or many at once."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from glasshive.model.identity import Identity
from glasshive.model.policy import ObjectRef, PolicyObject
from glasshive.policy.ports import NO_NAMES, NamedPort
from glasshive.policy.resolve import Mode, SubjectFacts


@dataclass(frozen=True, slots=True)
class PutObject:
    """A policy object exists, or is another one now."""

    value: PolicyObject


@dataclass(frozen=True, slots=True)
class RemoveObject:
    """A policy object is no more."""

    ref: ObjectRef


@dataclass(frozen=True, slots=True)
class PutIdentity:
    """An identity exists. ``named_ports``: what its endpoints call their ports, for egress rules with names."""

    identity: Identity
    named_ports: frozenset[NamedPort] = NO_NAMES


@dataclass(frozen=True, slots=True)
class RemoveIdentity:
    """An identity is no more, and no address in the ipcache has it."""

    number: int


@dataclass(frozen=True, slots=True)
class PutSubject:
    """An endpoint or node to be judged exists, or has other labels now. ``key`` is the caller's name for it."""

    key: Hashable
    facts: SubjectFacts


@dataclass(frozen=True, slots=True)
class RemoveSubject:
    """It is no more."""

    key: Hashable


@dataclass(frozen=True, slots=True)
class SetMode:
    """The enforcement mode is another one."""

    mode: Mode


Change = PutObject | RemoveObject | PutIdentity | RemoveIdentity | PutSubject | RemoveSubject | SetMode
