"""Kubernetes and cilium.io objects as validated values; one module per kind."""
