"""The Kubernetes API, from both sides: client (requests, informers, work queue) and server (the embedded API server)."""
