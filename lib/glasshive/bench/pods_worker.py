"""The inside of `bench pods`: one node's datapath, driven through its CNI entry point. A process of its own, because it
moves into the node's network namespace for good. Prints one JSON object.

    python -m glasshive.bench.pods_worker NETNS NAME FOLDER LIVE MEASURED
"""

from __future__ import annotations

import sys

from glasshive.net import netns

if __name__ == "__main__":
    netns.enter(sys.argv[1])  # before anything below starts a thread

import json
from pathlib import Path
from typing import Any

from glasshive.agent.config import AgentConfig
from glasshive.bench import cni
from glasshive.model.address import Prefix, parse
from glasshive.model.node import NodeFacts

POD_PREFIXES = ("10.244.0.0/19", "fd00:10:244::/64")  # room for 8,000 pods


def main(name: str, folder: Path, live: int, measured: int) -> dict[str, Any]:
    """Fill the node with ``live`` pods, measure ``measured`` more and their removal, empty the node."""
    prefixes = tuple(Prefix.parse(one) for one in POD_PREFIXES)
    node = NodeFacts("node1", (parse("172.30.0.11"), parse("fd30::b")), prefixes)
    return cni.measure(
        AgentConfig(cluster=name, node="node1", run_dir=folder), node, live=live, adds=measured
    ).to_json()


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))))
