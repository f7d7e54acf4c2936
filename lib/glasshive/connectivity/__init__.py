"""``glasshive connectivity test``: does this cluster's network do what a CNI promises?

``stage`` puts pods and responders in their places, ``scenarios`` says (purely) which probes go from where to where,
``remote`` holds the two programs that send and answer them, ``judge`` compares answers with expectations, ``run`` does
it all side by side. A feature that the cluster does not have is reported as not applicable, by name.
"""

from glasshive.connectivity.run import examine
from glasshive.connectivity.stage import Stage
from glasshive.connectivity.values import Path, Place, Report, Row

__all__ = ["Path", "Place", "Report", "Row", "Stage", "examine"]
