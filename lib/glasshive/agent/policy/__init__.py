"""Feature "policy" of the agent: from the API's objects to the kernel's tables, and back to the reason.

``sources`` follows everything that rules are made of and gives ``PolicyObject`` values; ``tables`` carries out what the
engine (``glasshive.policy``) asks for, in its order; ``feature`` puts engine, endpoints and identities together;
``settings`` are what the cluster is told; ``views`` and ``answers`` are what people ask.
"""
