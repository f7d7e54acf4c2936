"""Security identities: which labels count, and which number a set of labels has.

``labels`` derives the identity-relevant labels of a pod, ``reserved`` reads the reserved numbers out of the datapath's
BTF, ``allocator`` keeps label sets and numbers in step with the CiliumIdentity objects of the cluster.
"""
