"""A node without eBPF: routed pods and kube-proxy's rules. The peer that labs and benchmarks race and migrate from."""
