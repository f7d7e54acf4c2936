"""``glasshive lab new``: source, manifest entry and task module of a lab, ready to be written.

What it writes keeps the rules, but its check says honestly that nothing is looked at yet: ``lab prove`` fails until the
author has written it. Everything is written, or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from string import Template

from glasshive.errors import GlasshiveError, UsageError
from glasshive.lab import tasks
from glasshive.lab.manifest import labs_folder, read_labs

_TOPIC = re.compile(r"[a-z][a-z0-9_]{1,39}")
_NUMBER = re.compile(r"[0-9]{2}")


def new_lab(
    number: str, topic: str, title: str, *, folder: Path | None = None, task_folder: Path | None = None
) -> list[Path]:
    """Write a new lab; gives the files written or changed. UsageError when the name is taken or not a name."""
    labs = folder or labs_folder()
    if not _NUMBER.fullmatch(number):
        raise UsageError(f"{number!r} is no lab number", hint="two digits")
    if not _TOPIC.fullmatch(topic):
        raise UsageError(f"{topic!r} is no topic", hint="lower case letters, digits and _, such as first_pod")
    if not title.strip() or '"' in title or "\n" in title:
        raise UsageError(f"{title!r} is no title", hint='one line without "')
    taken = [one for one in read_labs(labs) if one.id == number or one.topic == topic]
    if taken:
        raise UsageError(f"there is a lab {taken[0].name} already", hint="choose another number and topic")
    facts = {"number": number, "topic": topic, "title": title.strip(), "task": topic.replace("_", "-")}
    files = {
        labs / "src" / f"{number}_{topic}.py": "source.py.txt",
        (task_folder or Path(tasks.__file__).parent) / f"{topic}.py": "tasks.py.txt",
    }
    for path in files:
        if path.exists():
            raise UsageError(f"{path} is there already", hint="choose another topic, or remove it")
    return _write(labs / "labs.toml", files, lambda name: _template(name).substitute(facts))


def _write(manifest: Path, files: dict[Path, str], text_of: Callable[[str], str]) -> list[Path]:
    """Write all, or put everything back as it was."""
    before = manifest.read_text(encoding="utf-8")
    try:
        for path, template in files.items():
            path.write_text(text_of(template), encoding="utf-8")
        manifest.write_text(before.rstrip("\n") + "\n\n" + text_of("entry.toml.txt"), encoding="utf-8")
        read_labs(manifest.parent)
    except (OSError, GlasshiveError):
        manifest.write_text(before, encoding="utf-8")
        for path in files:
            path.unlink(missing_ok=True)
        raise
    return [*files, manifest]


def _template(name: str) -> Template:
    return Template(resources.files("glasshive.lab").joinpath("static", name).read_text(encoding="utf-8"))
