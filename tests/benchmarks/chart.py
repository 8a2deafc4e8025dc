"""The picture of ``docs/explanation/performance.md``, from the figures of one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "tusfacturas-async", "font.family": "sans-serif"}

from matplotlib import pyplot as plt  # noqa: E402 - the backend is chosen first

SHOWN = {
    "httpx, gather": ("#b0413e", "--"),
    "httpx2, gather": ("#d08c60", "--"),
    "reprocess_many, journal": ("#14532d", "-"),
    "reprocess_many": ("#16a34a", "-"),
    "reprocess_many, direct": ("#1d4ed8", "-"),
    "aiohttp, workers": ("#555555", "--"),
    "raw sockets": ("#aaaaaa", ":"),
}


def draw(cpu: dict[str, dict[str, dict[str, float]]], path: Path) -> None:
    """CPU per request over requests in flight, both logarithmic, each line named at its end."""
    figure, axes = plt.subplots(figsize=(8, 4.5))
    for name, (colour, style) in SHOWN.items():
        flights = [int(flight) for flight in cpu[name]]
        medians = [cell["median"] for cell in cpu[name].values()]
        axes.plot(flights, medians, style, color=colour, marker="o", markersize=3, label=name)
    axes.set(xscale="log", yscale="log", xlabel="requests in flight", ylabel="CPU ms per request")
    axes.set_xticks(flights, [str(flight) for flight in flights])
    axes.set_yticks([0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10], ["0.05", "0.1", "0.2", "0.5", "1", "2", "5", "10"])
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    options: dict[str, Any] = {"bbox_inches": "tight", "metadata": {"Date": None}}
    figure.savefig(path, **options)
    plt.close(figure)
