"""A generated case as the engine is told of it."""

from __future__ import annotations

from glasshive.model.policy import SubjectKind
from glasshive.policy.engine import Change, Engine, PutIdentity, PutSubject
from glasshive.policy.resolve import Mode, Settings, SubjectFacts
from policy_cases import RESERVED, WORLD_IPV4, WORLD_IPV6, Case, names_of, reserved
from policy_oracle import Somebody
from policy_tables import Tables


def engine_of(case: Case) -> Engine:
    config = case.cluster
    return Engine(Settings(Mode(config.mode), config.allow_localhost, config.nodes_by_cidr, dual_stack=True))


def everybody(case: Case) -> list[Change]:
    found: list[Change] = [PutIdentity(reserved(number)) for number in RESERVED]
    found += [PutIdentity(case.identities[who.name], names_of(who)) for who in (*case.pods, *case.nodes)]
    for who in (*case.pods, case.nodes[0]):
        facts = SubjectFacts(who.labels, names_of(who), SubjectKind(who.kind))
        found.append(PutSubject(who.name, facts))
    return found


def identity_of(case: Case, tables: Tables, who: Somebody) -> int:
    known = case.identities.get(who.name)
    return known.number if known is not None else tables.identity(who.address, WORLD_IPV4, WORLD_IPV6)
