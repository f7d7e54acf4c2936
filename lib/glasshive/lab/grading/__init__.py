"""Grading: ``reader`` reads a cluster, ``grade`` runs checks with it, ``score`` adds up, ``process`` does so apart."""
