"""Embedded clusters: a node is a network namespace, its agent and real pod processes on this very machine."""
