"""Curves as SVG, which can be read on light and on dark ground."""

import math
from html import escape

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 35, 60, 60
# One colour and one form of point for each curve; the second colour of each is for dark ground.
COLOURS = [("#2a78d6", "#5b9bec"), ("#c4572e", "#ec835a"), ("#1b8a5a", "#3fbf85"), ("#7a4fc0", "#a98be8")]


def svg(title, across, up, curves):
    """A plot of curves, each a name with its points [(x, y), ...]; x grows by factors, y begins with 0."""
    xs = sorted({x for _, points in curves for x, _ in points})
    steps = ticks(max(y for _, points in curves for _, y in points))
    low, high = math.log(xs[0]), math.log(xs[-1])

    def place(x, y):
        share = (math.log(x) - low) / (high - low) if high > low else 0.5
        return (LEFT + share * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y / steps[-1] * (HEIGHT - TOP - BOTTOM))

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        style(len(curves)),
        f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}"/>',
        text(LEFT, 22, title, "start", "title"),
    ]
    for y in steps:
        at = place(xs[0], y)[1]
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(text(LEFT - 8, at + 4, number(y), "end"))
    base = HEIGHT - BOTTOM
    for x in xs:
        at = place(x, 0)[0]
        parts.append(f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{base}" y2="{base + 5}"/>')
        parts.append(text(at, base + 20, number(x)))
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>')
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, across))
    turned = f'transform="translate(16 {(TOP + base) / 2}) rotate(-90)"'
    parts.append(f'<text class="text" text-anchor="middle" {turned}>{escape(up)}</text>')
    legend = LEFT
    for index, (name, points) in enumerate(curves):
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        parts.append(f'<polyline class="line c{index}" points="{line}"/>')
        for point in points:
            told = f"{name}, {number(point[0])}: {number(point[1])}"
            parts.append(mark(index, *place(*point), told))
        parts.append(mark(index, legend + 6, 43, name))
        parts.append(text(legend + 17, 47, name, "start"))
        legend += 35 + 7 * len(name)
    return "\n".join([*parts, "</svg>", ""])


def style(curves):
    light = [".ground{fill:#fff}.text{fill:#24292f}.title{font-weight:600}",
             ".grid{stroke:#d8dee4}.axis{stroke:#57606a}.line{fill:none;stroke-width:2}"]
    dark = [".ground{fill:#0d1117}.text{fill:#e6edf3}.grid{stroke:#30363d}.axis{stroke:#8b949e}"]
    for index in range(curves):
        for rules, colour in zip((light, dark), COLOURS[index]):
            rules.append(f".line.c{index}{{stroke:{colour}}}.mark.c{index}{{fill:{colour}}}")
    return f"<style>{''.join(light)}@media(prefers-color-scheme:dark){{{''.join(dark)}}}</style>"


def mark(index, x, y, told):
    head = f'class="mark c{index}"'
    title = f"<title>{escape(told)}</title>"
    if index % 2 == 0:
        return f'<circle {head} cx="{x:.1f}" cy="{y:.1f}" r="4.5">{title}</circle>'
    return f'<rect {head} x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8">{title}</rect>'


def text(x, y, content, anchor="middle", more=""):
    return f'<text class="text {more}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def ticks(most):
    """From 0 to at least `most` in four to eight steps of 1, 2 or 5 times a power of ten."""
    most = max(most, 1e-9)
    power = 10 ** math.floor(math.log10(most / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if most / (factor * power) <= 8)
    return [step * count for count in range(math.ceil(most / step - 1e-9) + 1)]


def number(value):
    """12,000, 3.5 or 0.25: three digits of what is small."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"
