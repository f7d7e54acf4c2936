"""Network policy: from rules and identities to the rows of the kernel's tables, and back to the reason for a verdict.

``ports`` cuts port numbers into prefixes and ``rows`` decides what one peer may do; ``selectors`` keeps which
identities a rule means, ``prefixes`` gives numbers to the address blocks that rules name; ``resolve`` finds the rules
of a subject, ``half`` holds one resolved direction, and ``engine`` puts them together: every change returns a ``delta``
that says what to write and in which order. ``explain`` and ``trace`` say why. Everything here is pure: values in,
values out.
"""
