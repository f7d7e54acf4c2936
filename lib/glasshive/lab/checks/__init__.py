"""Kinds of checks, as small functions that looks are made of: ``state``, ``probe``, ``flow``, ``invariant``, ``shape``.

Each takes a ``ClusterReader`` and what is expected, looks once, and gives a CheckResult without a name (the grader
puts the check's own in). None waits: the grader asks again until the answer is right or the time is over. ``outcome``
has the words for results, and ``all_of``.
"""
