"""A moving picture as a GIF: its recorded states alone, one after the other."""

import io
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image

from collapse.moving_page import CELLS, COLOURS
from collapse.plotting import THEORY
from collapse.studies.moving import Cells, Film, Layer, Scene, spelt
from collapse.studies.sentences import number

SIZE = (6.4, 3.6)
"""In inches of `DPI` pixels."""
DPI = 100
SECONDS, REST = 4.8, 1.2
"""How long all states take together, and the last one beside."""
_SHADES = 128


def gif(film: Film) -> bytes:
    """Return the GIF of a film, a frame for each recorded state."""
    figure = plt.figure(figsize=SIZE, dpi=DPI)
    # The scene beside a column of curves, if there are any.
    places = [["scene", str(place)] for place in range(len(film.curves))]
    panels = figure.subplot_mosaic(places or [["scene"]])
    figure.suptitle(film.heading, x=0.01, ha="left", fontsize=8)
    moving = _Moving(panels, film)
    # The places of panels are settled once: titles that change would move them.
    figure.canvas.draw()
    figure.set_layout_engine(None)
    images = []
    for frame in range(len(film.places)):
        moving.show(frame)
        images.append(_image(figure))
    palette = _palette([images[0], images[len(images) // 2], images[-1]])
    frames = [each.quantize(palette=palette, dither=Image.Dither.NONE) for each in images]
    duration = [int(1000 * SECONDS / len(frames))] * len(frames)
    duration[-1] += int(1000 * REST)
    written = io.BytesIO()
    frames[0].save(
        written, "GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0
    )
    return written.getvalue()


def _palette(images: Sequence[Image.Image]) -> Image.Image:
    """Return an image with the colours that some images share: one for each would flicker."""
    together = Image.fromarray(np.concatenate([np.asarray(image) for image in images]))
    # By what they span: by how often they come, white would take all.
    return together.quantize(_SHADES, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


def _image(figure: Figure) -> Image.Image:
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")


class _Moving:
    """The artists of a film, which show one frame after the other."""

    def __init__(self, panels: dict[str, Axes], film: Film) -> None:
        self._film, self._axes = film, panels["scene"]
        _stage(self._axes, film.scene)
        self._cells = film.scene.cells and _matrix(self._axes, film.scene.cells)
        self._artists = [_artist(self._axes, layer) for layer in film.scene.layers]
        self._marks = []
        for place, (curve, values, theory) in enumerate(film.curves):
            axes = panels[str(place)]
            axes.plot(values, color=COLOURS[0])
            if theory is not None:
                axes.axhline(theory, **THEORY)
            known = values[np.isfinite(values)]
            if (known > 0).all():
                axes.set_yscale("log")
            # Of a constant a logarithmic axis has no extent.
            if len(known) and np.ptp(known) <= 1e-9 * abs(known).max():
                axes.set_ylim(*(sorted((known[0] / 2, 2 * known[0])) if known[0] else (-1, 1)))
            axes.set_xticks([])
            axes.minorticks_off()
            ends = sorted({known.min(), known.max()}) if len(known) else []
            # Within a decade a logarithmic axis may have no tick at all.
            if axes.get_yscale() == "log" and _decades(ends) < 2:
                axes.set_yticks(ends, _told_apart(ends))
            axes.set_title(curve.label, loc="left", fontsize=8, pad=3)
            self._marks += axes.plot([0], values[:1], "o", color=COLOURS[3])

    def show(self, frame: int) -> None:
        """Show a frame."""
        film = self._film
        self._axes.set_title(f"{film.clock} {spelt(film.places[frame])}", loc="left", fontsize=8)
        if film.scene.cells:
            self._cells.set_data(film.scene.cells.at[frame])
        for artist, layer in zip(self._artists, film.scene.layers, strict=True):
            if layer.rays:
                artist.set_segments(_rays(layer.at[frame]))
            else:
                artist.set_offsets(layer.at[frame])
        for mark, (_, values, _) in zip(self._marks, film.curves, strict=True):
            mark.set_data([frame], [values[frame]])


def _stage(axes: Axes, scene: Scene) -> None:
    """Prepare the panel of the scene: its extent, and theory."""
    end = 1.05 * (scene.reach or 1)
    limits = (0 if scene.axes else -end, end)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    if scene.axes:
        across, up = scene.axes
        axes.set(xlabel=across, ylabel=up)
    else:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for place, line in enumerate(scene.theory):
        axes.plot(*line.T, **THEORY, zorder=3, label=None if place else scene.theory_name)
    if scene.theory:
        # Cells leave no room within the axes, and what has names mostly does in their far corner.
        place = {"loc": "upper right" if scene.axes else "lower left"}
        named = scene.cells and scene.cells.labels
        anchor = (0, -0.15 if named else 0)
        below = {"loc": "upper left", "bbox_to_anchor": anchor} if scene.cells else {}
        axes.legend(**({"borderaxespad": 0} | place | below))


def _matrix(axes: Axes, cells: Cells) -> AxesImage:
    image = axes.imshow(cells.at[0], cmap=CELLS, vmin=-1, vmax=1, extent=(-1, 1, -1, 1))
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.5, ticks=(-1, 0, 1), aspect=25)
    bar.set_label(cells.name)
    bar.outline.set_visible(False)
    # The middles of columns; the first row is on top.
    places = (2 * np.arange(len(cells.labels)) + 1) / cells.at.shape[1] - 1
    axes.set_xticks(places, cells.labels, fontsize=6, rotation=90)
    axes.set_yticks(-places, cells.labels, fontsize=6)
    axes.tick_params(length=0)
    return image


def _artist(axes: Axes, layer: Layer) -> LineCollection | PathCollection:
    colours = [COLOURS[i] for i in np.broadcast_to(layer.colour, layer.at.shape[1])]
    if layer.rays:
        return axes.add_collection(LineCollection(_rays(layer.at[0]), colors=colours, linewidths=2))
    size = 36 if len(colours) < 20 else 16 if len(colours) < 100 else 6
    # Half of a dot at an edge would not be seen.
    return axes.scatter(
        *layer.at[0].T, s=size, c=colours, alpha=0.5, linewidth=0, clip_on=False, zorder=4
    )


def _decades(ends: Sequence[float]) -> int:
    """Return how many powers of ten lie between the least and the largest of positive numbers."""
    low, high = np.log10(ends[0]), np.log10(ends[-1])
    return int(np.floor(high) - np.ceil(low)) + 1


def _told_apart(ends: Sequence[float]) -> list[str]:
    """Spell numbers, with as many digits as it takes for two of them to differ."""
    texts = list(map(number, ends))
    longer = ([f"{end:.{digits}g}" for end in ends] for digits in range(4, 17))
    return (
        texts
        if len(set(texts)) == len(ends)
        else next((found for found in longer if len(set(found)) == len(ends)), texts)
    )


def _rays(tips: np.ndarray) -> np.ndarray:
    """Return the lines from the origin to each tip."""
    return np.stack([np.zeros_like(tips), tips], axis=1)
