"""A plot of latency by offered load as SVG, without anything to draw it with.

SPDX-License-Identifier: Apache-2.0
"""

import math

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 420, 70, 110, 40, 50
LINES = (("p50", "#1f77b4"), ("p99", "#d62728"), ("p99.9", "#7f7f7f"))


def draw(points, title):
    """`points`: of each offered load its percentiles in microseconds.  Both axes are logarithmic."""
    most = max(point["p99.9"] for point in points)
    least = min(point["p50"] for point in points)
    low, high = math.floor(math.log10(least)), math.ceil(math.log10(most))
    first, last = (math.log10(points[at]["offered"]) for at in (0, -1))

    def x(offered):
        return LEFT + (math.log10(offered) - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(us):
        return HEIGHT - BOTTOM - (math.log10(us) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
           f'font-family="sans-serif" font-size="12">', '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="{LEFT}" y="24" font-size="15">{title}</text>',
           f'<text x="{LEFT}" y="{HEIGHT - 10}">offered per second</text>']
    for power in range(low, high + 1):
        at = y(10 ** power)
        label = f"{10 ** power:g} us" if power < 3 else f"{10 ** (power - 3):g} ms"
        out.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{label}</text>')
    for point in points:
        at = x(point["offered"])
        out.append(f'<path d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#eee"/>'
                   f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">'
                   f'{point["offered"] / 1000:g}k</text>')
    for name, colour in LINES:
        path = " ".join(f'{x(point["offered"]):.1f},{y(point[name]):.1f}' for point in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
                   f'<text x="{WIDTH - RIGHT + 8}" y="{y(points[-1][name]) + 4:.1f}" fill="{colour}">{name}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"
