"""The Kubernetes API from both sides: client (requests, informers, work queue) and the embedded API server."""
