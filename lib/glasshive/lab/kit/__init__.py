"""What a lab notebook talks to: ``Lab``, put together from one part for each noun.

``place`` (the cluster and the namespace), ``pods``, ``parts`` (components), ``kernel`` (what maps and links say),
``identities`` (who shares one), ``policies`` (what policy lets pass, and why), ``programs`` (what the learner writes)
and ``work`` (tasks, checks, hints, predictions); ``lab`` opens and resets.
"""

from glasshive.lab.kit.lab import Lab

__all__ = ["Lab"]
