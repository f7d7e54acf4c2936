"""Rule -> the number that stands for it in the tables and in records, and back.

The number comes from the rule's place (kind, namespace, name, section, index), so that it is the same after a restart
and, but for collisions, on every node; uid and file do not count. Numbers of rules that are gone stay known for a
while: a record may still speak of them.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from glasshive.model.policy import RuleOrigin

_REMEMBERED = 10_000


class Cookies:
    """Which cookie stands for which rule."""

    def __init__(self) -> None:
        self._by_origin: dict[RuleOrigin, int] = {}
        self._by_cookie: dict[int, RuleOrigin] = {}
        self._users: dict[RuleOrigin, int] = {}
        self._departed: OrderedDict[int, RuleOrigin] = OrderedDict()

    def acquire(self, origin: RuleOrigin) -> int:
        """The cookie of a rule; one more user."""
        self._users[origin] = self._users.get(origin, 0) + 1
        known = self._by_origin.get(origin)
        if known is not None:
            return known
        cookie = _hash(origin)
        while not cookie or cookie in self._by_cookie:
            cookie = (cookie + 1) & 0xFFFFFFFF
        self._by_origin[origin] = cookie
        self._by_cookie[cookie] = origin
        self._departed.pop(cookie, None)
        return cookie

    def known(self, origin: RuleOrigin) -> int:
        """The cookie that a rule has, or would have if nobody else had it."""
        return self._by_origin.get(origin) or _hash(origin)

    def release(self, origin: RuleOrigin) -> None:
        """One user less."""
        self._users[origin] -= 1
        if self._users[origin]:
            return
        cookie = self._by_origin.pop(origin)
        del self._users[origin], self._by_cookie[cookie]
        self._departed[cookie] = origin
        while len(self._departed) > _REMEMBERED:
            self._departed.popitem(last=False)

    def origin(self, cookie: int) -> RuleOrigin | None:
        """The rule that a cookie stands for, or stood for lately."""
        return self._by_cookie.get(cookie) or self._departed.get(cookie)

    def items(self) -> dict[int, RuleOrigin]:
        """All rules in force."""
        return dict(self._by_cookie)


def _hash(origin: RuleOrigin) -> int:
    one = origin.object
    text = "\0".join((one.kind, one.namespace, one.name, str(origin.spec), origin.section, str(origin.index)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")
