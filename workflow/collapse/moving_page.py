"""A moving picture as one page that needs nothing else: play, a slider, the metrics beside it."""

import json
from typing import Any

import matplotlib
import numpy as np
from jinja2 import Environment
from markupsafe import Markup
from matplotlib.colors import to_hex

from collapse.plotting import category_colours
from collapse.studies.moving import Cells, Film, Layer

COLOURS = [to_hex(colour) for colour in category_colours(range(10)).values()]
"""That of each number of a layer's."""
DIGITS = 4
"""Decimals of a place in units of the reach: a thousandth of a pixel is not seen."""
CELLS, SHADES = "RdBu_r", 255
"""The colour map of cells, and how many colours it has in a page."""
CELL_DIGITS = 2
"""Decimals of a cell's value: of a colour more are not seen."""

_TEMPLATE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ film.heading }}</title>
<style>
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --faint: #b8b8b8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --paper: #17191d; --faint: #5c5f66; }
  canvas { filter: brightness(1.35); }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  margin: 0 auto; max-width: 58rem; padding: 1rem; }
h1 { font-size: 1.2rem; margin: 0 0 .6rem; }
main { display: grid; grid-template-columns: minmax(0, 3fr) minmax(12rem, 2fr); gap: 1rem; }
@media (max-width: 40rem) { main { grid-template-columns: 1fr; } }
canvas { display: block; width: 100%; }
#scene { aspect-ratio: 1; }
.curve { height: 6.5rem; }
figure { margin: 0 0 .4rem; }
figcaption { display: flex; justify-content: space-between; font-size: 13px; }
figcaption span + span, output { font-variant-numeric: tabular-nums; }
form { display: flex; gap: .8rem; align-items: center; margin: .6rem 0; }
input { flex: 1; min-width: 0; }
button { font: inherit; min-width: 5.5em; }
output { min-width: 15em; }
ul { list-style: none; display: flex; flex-wrap: wrap; gap: 0 1.2rem; margin: 0; padding: 0; }
p, li { font-size: 13px; }
.ramp { display: inline-block; width: 6em; height: .7em; }
</style>
</head>
<body>
<h1>{{ film.heading }}</h1>
<main>
<div>
<canvas id="scene" role="img" aria-label="{{ film.caption }}"></canvas>
<ul>{% if told.cells %}<li>{{ film.scene.cells.name }}: -1 <span class="ramp" style="background:
linear-gradient(90deg, {{ told.cells.colours | join(", ") }})"></span> 1</li>{% endif %}
{% for name in legend %}<li>{{ name }}</li>{% endfor %}</ul>
</div>
<div id="curves">
{%- for curve in told.curves %}
<figure><figcaption><span>{{ curve.label }}</span><span class="value"></span></figcaption>
<canvas class="curve"></canvas></figure>
{%- endfor %}
</div>
</main>
<form onsubmit="return false">
<button id="play" type="button">Play</button>
<input id="slider" type="range" min="0" max="{{ told.places | length - 1 }}" step="1" value="0"
aria-label="recorded {{ told.clock }}">
<output id="place"></output>
</form>
<p>{{ film.caption }}</p>
<p>Recorded are {{ told.places | length }} states, where the slider stops; they follow each other at
an even pace, whatever lies between. While it plays, what is seen between two recorded states is
interpolated linearly; the curves join recorded values, on a logarithmic ordinate where
all are positive. Space plays and pauses, the arrow keys, Home and End go from state to state.</p>
<script id="told" type="application/json">{{ json }}</script>
<script>
"use strict";
const told = JSON.parse(document.getElementById("told").textContent);
const last = told.places.length - 1, seconds = 10;
const [scene, slider, play, place] =
  ["scene", "slider", "play", "place"].map(id => document.getElementById(id));
const panels = [...document.querySelectorAll("canvas.curve")];
const values = [...document.querySelectorAll(".value")];
let position = 0, started = null;
// Room for the names of rows, and for those of columns.
const NAMES = 76;

const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name);
const mix = (from, to, part) => from + (to - from) * part;

// The context of a canvas in units of its own size on the page, cleared.
function context(canvas) {
  const dense = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = width * dense;
  canvas.height = height * dense;
  const pen = canvas.getContext("2d");
  pen.scale(dense, dense);
  return [pen, width, height];
}

function stroke(pen, points, style, width, dash = []) {
  pen.beginPath();
  points.forEach(([x, y], i) => i ? pen.lineTo(x, y) : pen.moveTo(x, y));
  Object.assign(pen, {strokeStyle: style, lineWidth: width});
  pen.setLineDash(dash);
  pen.stroke();
}

// Where the points of a layer are between two recorded states.
function places(layer, before, part) {
  const from = layer.at[before], to = layer.at[Math.min(before + 1, last)];
  return from.map(([x, y], i) => [mix(x, to[i][0], part), mix(y, to[i][1], part)]);
}

// The entries of a matrix between two recorded states, the first row on top.
function drawCells(pen, {at, colours, labels}, before, part, seen) {
  const from = at[before], to = at[Math.min(before + 1, last)];
  const ends = from.map((_, i) => 2 * i / from.length - 1).concat(1);
  from.forEach((row, i) => row.forEach((value, j) => {
    // To whole pixels: between cells there is no seam.
    const [[left, top], [right, bottom]] =
      [[ends[j], -ends[i]], [ends[j + 1], -ends[i + 1]]].map(end => seen(end).map(Math.round));
    const shade = (mix(value, to[i][j], part) + 1) / 2 * (colours.length - 1);
    pen.fillStyle = colours[Math.round(Math.max(0, Math.min(colours.length - 1, shade)))];
    pen.fillRect(left, top, right - left, bottom - top);
  }));
  Object.assign(pen, {fillStyle: colour("--ink"), font: "12px system-ui, sans-serif",
    textAlign: "right", textBaseline: "middle"});
  labels.forEach((label, i) => {
    const [left, middle] = seen([-1, -(ends[i] + ends[i + 1]) / 2]);
    pen.fillText(label, left - 5, middle, NAMES - 8);
    const [centre, bottom] = seen([(ends[i] + ends[i + 1]) / 2, -1]);
    pen.save();
    pen.translate(centre, bottom + 5);
    pen.rotate(-Math.PI / 2);
    pen.fillText(label, 0, 0, NAMES - 8);
    pen.restore();
  });
}

// Where a point is seen: the origin is in the middle, or in a corner where coordinates have names.
function view(size) {
  const half = size / 2, scale = 0.94 * half, margin = 34;
  if (told.cells && told.cells.labels.length) {
    // Names stand to the left of the matrix and below it.
    const side = size - NAMES;
    return ([x, y]) => [NAMES + side * (x + 1) / 2, side * (1 - y) / 2];
  }
  if (!told.axes) return ([x, y]) => [half + scale * x, half - scale * y];
  return ([x, y]) => [mix(margin, size - 8, x), mix(size - margin, 8, y)];
}

function drawAxes(pen, seen) {
  const [[left, top], [right, bottom]] = [[0, 1], [1, 0]].map(seen);
  stroke(pen, [[left, top], [left, bottom], [right, bottom]], colour("--faint"), 1);
  Object.assign(pen, {fillStyle: colour("--ink"), font: "12px system-ui, sans-serif"});
  const write = (text, place, textAlign) =>
    Object.assign(pen, {textAlign}).fillText(text, ...place);
  const [across, up] = told.axes;
  write(across, [(left + right) / 2, bottom + 26], "center");
  for (const end of [0, 1]) {
    const text = spelt(end * told.reach);
    write(text, [mix(left, right, end), bottom + 14], end ? "right" : "center");
    write(text, [left - 4, mix(bottom, top + 8, end)], "right");
  }
  pen.save();
  pen.translate(left - 22, (top + bottom) / 2);
  pen.rotate(-Math.PI / 2);
  write(up, [0, 0], "center");
  pen.restore();
}

function drawScene(before, part) {
  const [pen, width, height] = context(scene);
  const seen = view(Math.min(width, height));
  if (told.axes) drawAxes(pen, seen);
  if (told.cells) drawCells(pen, told.cells, before, part, seen);
  for (const layer of told.layers) {
    const radius = layer.colours.length < 20 ? 6 : layer.colours.length < 100 ? 4 : 2.5;
    places(layer, before, part).map(seen).forEach((point, i) => {
      const own = told.colours[layer.colours[i] % told.colours.length];
      if (layer.rays) {
        stroke(pen, [seen([0, 0]), point], own, 3);
      } else {
        pen.globalAlpha = 0.55;
        pen.fillStyle = own;
        pen.beginPath();
        pen.arc(...point, radius, 0, 2 * Math.PI);
        pen.fill();
        pen.globalAlpha = 1;
      }
    });
  }
  for (const line of told.theory) stroke(pen, line.map(seen), colour("--ink"), 1.2, [5, 4]);
}

function drawCurve(canvas, curve) {
  const [pen, width, height] = context(canvas);
  const known = [...curve.values, curve.theory].filter(value => value !== null);
  const scaled = curve.logarithmic ? Math.log10 : value => value;
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const span = scaled(high) - scaled(low) || 1;
  const [left, right, top, bottom] = [58, width - 6, 8, height - 8];
  const x = i => mix(left, right, last ? i / last : 0);
  const y = value => mix(bottom, top, (scaled(value) - scaled(low)) / span);
  stroke(pen, [[left, top], [left, bottom], [right, bottom]], colour("--faint"), 1);
  Object.assign(pen, {fillStyle: colour("--ink"), font: "11px system-ui, sans-serif",
    textAlign: "right", textBaseline: "middle"});
  for (const end of new Set([low, high])) pen.fillText(spelt(end), left - 5, y(end));
  const points = curve.values.map((value, i) => value === null ? null : [x(i), y(value)]);
  stroke(pen, points.filter(point => point), told.colours[0], 1.6);
  if (curve.theory !== null) {
    const level = y(curve.theory);
    stroke(pen, [[left, level], [right, level]], colour("--ink"), 1, [5, 4]);
  }
  const now = x(position);
  stroke(pen, [[now, top], [now, bottom]], colour("--faint"), 1);
  const at = points[Math.floor(position)];
  if (!at) return;
  pen.fillStyle = told.colours[3];
  pen.beginPath();
  pen.arc(...at, 3.5, 0, 2 * Math.PI);
  pen.fill();
}

function spelt(value) {
  if (value === null) return "";
  if (Number.isInteger(value)) return String(value);
  return value && Math.abs(value) < 1e-3 ? value.toExponential(1) : String(+value.toPrecision(3));
}

function show(at) {
  position = Math.max(0, Math.min(last, at));
  const before = Math.floor(position), part = position - before;
  drawScene(before, part);
  told.curves.forEach((curve, i) => {
    drawCurve(panels[i], curve);
    values[i].textContent = spelt(curve.values[before]);
  });
  slider.value = before;
  const [from, to] = [before, before + 1].map(i => spelt(told.places[i] ?? null));
  place.value = told.clock + " " + from + (part ? " to " + to + ", interpolated" : "");
}

function stop() {
  started = null;
  play.textContent = "Play";
  show(Math.floor(position));
}

function start() {
  if (position >= last) show(0);
  started = performance.now() - 1000 * seconds * position / (last || 1);
  play.textContent = "Pause";
  requestAnimationFrame(tick);
}

function tick(now) {
  if (started === null) return;
  show(last * Math.max(0, now - started) / (1000 * seconds));
  if (position >= last) stop(); else requestAnimationFrame(tick);
}

function toggle() {
  if (started === null) start(); else stop();
}

function go(at) {
  stop();
  show(at);
}

play.addEventListener("click", toggle);
slider.addEventListener("input", () => go(Number(slider.value)));
document.addEventListener("keydown", event => {
  const keys = {" ": toggle, Home: () => go(0), End: () => go(last),
    ArrowLeft: () => go(Math.ceil(position) - 1), ArrowRight: () => go(Math.floor(position) + 1)};
  if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  keys[event.key]();
});
addEventListener("resize", () => show(position));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(position));
show(0);
</script>
</body>
</html>
"""


def page(film: Film) -> str:
    """Return the page of a film."""
    told = _told(film)
    # Inside a script nothing is escaped but what would end it.
    text = json.dumps(told, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    theory = [f"dashed: {film.scene.theory_name}"] if film.scene.theory else []
    environment = Environment(autoescape=True)
    return environment.from_string(_TEMPLATE).render(
        film=film,
        legend=[
            *(f"{'lines' if layer.rays else 'dots'}: {layer.name}" for layer in film.scene.layers),
            *theory,
        ],
        told=told,
        json=Markup(text),
    )


def _told(film: Film) -> dict[str, Any]:
    """Return what the page's script draws, in JSON: places in units of the reach, rounded."""
    reach = film.scene.reach or 1.0
    return {
        "clock": film.clock,
        "places": [place if isinstance(place, int) else _rounded(place) for place in film.places],
        "colours": COLOURS,
        "layers": [_layer(layer, reach) for layer in film.scene.layers],
        "axes": film.scene.axes,
        "reach": _rounded(reach),
        "cells": film.scene.cells and _cells(film.scene.cells),
        "theory": [np.round(line / reach, DIGITS).tolist() for line in film.scene.theory],
        "curves": [
            {
                "label": curve.label,
                "values": list(map(_rounded, values)),
                "theory": _rounded(theory),
                "logarithmic": bool((values[np.isfinite(values)] > 0).all()),
            }
            for curve, values, theory in film.curves
        ],
    }


def _layer(layer: Layer, reach: float) -> dict[str, Any]:
    return {
        "rays": layer.rays,
        "colours": np.broadcast_to(layer.colour, layer.at.shape[1]).tolist(),
        "at": np.round(layer.at / reach, DIGITS).tolist(),
    }


def _cells(cells: Cells) -> dict[str, Any]:
    shades = matplotlib.colormaps[CELLS](np.linspace(0, 1, SHADES))
    return {
        "colours": [to_hex(shade) for shade in shades],
        "at": np.round(cells.at, CELL_DIGITS).tolist(),
        "labels": list(cells.labels),
    }


def _rounded(value: float | None) -> float | None:
    """Return a number with five digits; None for none, or what is not finite."""
    return None if value is None or not np.isfinite(value) else float(f"{value:.5g}")
