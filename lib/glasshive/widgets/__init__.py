"""What a notebook shows: views over model values, and the ``%%bpf`` cell magic.

Every view has a text twin (its ``repr``), alternative text, and works without a mouse. Scripts and styles are files in
``static/``; nothing is fetched from a network. Views are given values and never fetch them; ``live`` keeps them fresh.
"""
