"""The progress panel: how a lab's tasks stand, watched all the time, outside the notebook's kernel.

``server`` is a small process that asks the grader again and again while somebody looks, and sends what it saw to the
browser (SSE); ``client`` starts it or finds it; ``board`` is what is shown, as plain values. The picture itself is
``glasshive.widgets.panel``, which talks to the server directly: so it lives while a cell runs and when the kernel is
restarted. Its text twin in a terminal is ``glasshive lab status --watch``.
"""
