"""What runs in pods: the few programs that stand for container images here.

Each module has ``main(args) -> int``, called in a process forked from the zygote: so they import only the standard
library, and nothing heavy. ``images.json`` says which image name means which of them; :mod:`catalogue` reads it.
"""
