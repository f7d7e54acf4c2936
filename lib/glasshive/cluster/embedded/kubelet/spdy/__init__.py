"""As much of SPDY/3.1 as port-forwarding needs, on bytes: ``frames``, ``headers``, and ``connection`` on top of them.

Clients still speak SPDY inside the WebSocket that carries ``kubectl port-forward`` (subprotocol
``SPDY/3.1+portforward.k8s.io``). Source: draft-mbelshe-httpbis-spdy-00 (SPDY/3), and 3.1's session windows, which the
clients of Kubernetes do not use: they send no more than a WebSocket takes.
"""
