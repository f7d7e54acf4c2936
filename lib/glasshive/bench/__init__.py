"""The benchmark harness: ours beside its peers, interleaved in one run.

``measure`` has the statistics, ``traffic`` the load, ``peers`` the networks that ours is compared with, and one module
per benchmark builds its contenders. ``commands`` is the door for ``glasshive bench``.
"""
