"""Last valid forms of objects that do not make sense now, on disk: they stay in force over the agent's restarts."""

from __future__ import annotations

import logging
from pathlib import Path

import orjson

from glasshive.kube.objects import Object, uid_of

log = logging.getLogger(__name__)


class KeptForms:
    """One file; it exists only while something is kept. Objects are known by their uid."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, Object] = {}
        try:
            self._known = orjson.loads(file.read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, orjson.JSONDecodeError) as error:
            log.warning("%s is not readable: %s", file, error)

    def get(self, obj: Object) -> Object | None:
        """The last valid form of an object."""
        return self._known.get(uid_of(obj))

    def keep(self, valid: Object) -> None:
        """Note the last valid form."""
        if self._known.get(uid_of(valid)) != valid:
            self._known[uid_of(valid)] = valid
            self._save()

    def forget(self, obj: Object) -> None:
        """The object is valid again, or gone."""
        if self._known.pop(uid_of(obj), None) is not None:
            self._save()

    def _save(self) -> None:
        if not self._known:
            self._file.unlink(missing_ok=True)
            return
        scratch = self._file.with_suffix(".new")
        scratch.write_bytes(orjson.dumps(self._known))
        scratch.rename(self._file)
