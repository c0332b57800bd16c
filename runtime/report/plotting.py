"""Matplotlib, imported in one place, so that it is told first where its list of fonts may be kept.

Its own choice ends in a warning, and in a new list with every start, where a container runs as a user without a home.
"""

import os

from twin.caches import writable_folder

if "MPLCONFIGDIR" not in os.environ and (_folder := writable_folder()) is not None:
    os.environ["MPLCONFIGDIR"] = str(_folder / "matplotlib")

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox

__all__ = [
    "Axes",
    "Bbox",
    "Colormap",
    "Figure",
    "Line2D",
    "LinearSegmentedColormap",
    "PolyCollection",
    "Rectangle",
    "mpl",
]
