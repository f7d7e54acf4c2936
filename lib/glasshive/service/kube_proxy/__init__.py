"""The peer: the rules that kube-proxy would write for the same services, as iptables or as nftables.

Both modules turn frontends into a ruleset and a ruleset into text for ``iptables-restore`` or ``nft``. Pure. Names of
chains, maps and marks are those of kube-proxy, so that what people know about it can be seen here.
"""
