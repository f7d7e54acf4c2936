"""Typed maps of the datapath, and the one reconciler that makes a kernel map equal a desired table.

A typed map is thin: the map's name and what the bytes mean. Layouts come from the object's BTF, never from here.
"""

from __future__ import annotations

from glasshive.maps.reconcile import Changes, reconcile

__all__ = ["Changes", "reconcile"]
