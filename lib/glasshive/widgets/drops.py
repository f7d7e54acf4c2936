"""Dropped packets by reason as a chart.

Plotly draws it, through JupyterLab's own renderer, which is installed with plotly and needs no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from glasshive.model.traffic import DropCount

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Told apart without colour vision, and by their pattern without any colour (Okabe and Ito's palette).
_DIRECTIONS = {"ingress": ("#0072B2", ""), "egress": ("#E69F00", "/")}
_OTHER = ("#666666", "x")


class DropsChart:
    """Packets dropped by reason, a bar for each direction. ``figure`` is the plotly figure."""

    def __init__(self, counts: Sequence[DropCount]) -> None:
        self.counts = tuple(counts)

    @property
    def figure(self) -> go.Figure:
        """The chart as a plotly figure."""
        import plotly.graph_objects as go

        totals = by_reason(self.counts)
        reasons = list(totals)
        figure = go.Figure()
        for direction in sorted({one for row in totals.values() for one in row}):
            colour, pattern = _DIRECTIONS.get(direction, _OTHER)
            packets = [totals[reason].get(direction, 0) for reason in reasons]
            marker = {"color": colour, "pattern": {"shape": pattern}}
            figure.add_bar(y=reasons, x=packets, name=direction, orientation="h", marker=marker)
        figure.update_layout(
            title="Dropped packets by reason",
            template="none",
            barmode="stack",
            bargap=0.4,
            height=170 + 36 * max(1, len(reasons)),
            margin={"l": 8, "r": 8, "t": 48, "b": 56},
            xaxis={"title": "packets", "rangemode": "tozero", "tickformat": "d", "nticks": 6},
            yaxis={"automargin": True, "autorange": "reversed"},
            legend={"title": {"text": "seen from the pod"}},
            showlegend=True,
            transition={"duration": 0},  # nothing moves by itself
            # A light card on any theme: plotly does not follow the theme, and no one grey is readable on both.
            paper_bgcolor="#ffffff",
            plot_bgcolor="#ffffff",
            font={"color": "#333333"},
        )
        return figure

    def __repr__(self) -> str:
        return text(self.counts)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """Give the chart and its text twin."""
        content = self.figure.to_plotly_json()
        content["config"] = {"displaylogo": False, "responsive": True}
        return {"application/vnd.plotly.v1+json": _json(content), "text/plain": repr(self)}


def by_reason(counts: Sequence[DropCount]) -> dict[str, dict[str, int]]:
    """Add up packets over nodes: reason -> direction -> packets, the most frequent reason first."""
    totals: dict[str, dict[str, int]] = {}
    for one in counts:
        row = totals.setdefault(one.reason, {})
        row[one.direction] = row.get(one.direction, 0) + one.packets
    return dict(sorted(totals.items(), key=lambda item: (-sum(item[1].values()), item[0])))


def text(counts: Sequence[DropCount]) -> str:
    """Say what the chart shows."""
    totals = by_reason(counts)
    if not totals:
        return "dropped packets: none"
    width = max(len(reason) for reason in totals)
    lines = [f"dropped packets: {sum(one.packets for one in counts)}"]
    for reason, row in totals.items():
        parts = ", ".join(f"{packets} {direction}" for direction, packets in sorted(row.items()))
        lines.append(f"  {reason:<{width}}  {parts}")
    return "\n".join(lines)


def since(now: Sequence[DropCount], before: Sequence[DropCount]) -> list[DropCount]:
    """Give what was dropped between two readings; what did not change is left out."""
    old = {(one.node, one.reason, one.direction): one for one in before}
    found = []
    for one in now:
        was = old.get((one.node, one.reason, one.direction))
        packets = one.packets - (was.packets if was else 0)
        if packets > 0:
            found.append(DropCount(one.node, one.reason, one.direction, packets, one.bytes - (was.bytes if was else 0)))
    return found


def _json(content: Any) -> Any:
    """Turn plotly's own values (arrays, its objects) into plain JSON ones."""
    import json

    from plotly.utils import PlotlyJSONEncoder

    return json.loads(json.dumps(content, cls=PlotlyJSONEncoder))
