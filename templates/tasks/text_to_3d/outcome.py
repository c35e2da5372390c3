"""The figure of the outcome: real clouds above those that were drawn for their captions."""

from typing import Any

ELEVATION, AZIMUTH = 18, -55  # degrees, from which a shape is seen


def draw(figure: Any, content: Any) -> None:
    """Draw two rows of clouds, all at one scale, shaded by their distance from the eye."""
    clouds = content["clouds"]
    figure.set_size_inches(6.5, 2.9)
    grid = figure.subplots(2, len(clouds), subplot_kw={"projection": "3d"}, squeeze=False)
    every = [point for each in clouds for name in ("real", "drawn") for point in each[name]]
    reach = max(abs(value) for point in every for value in point)
    for column, each in enumerate(clouds):
        for row, name in enumerate(("real", "drawn")):
            _scatter(grid[row][column], each[name], reach)
        # A caption is a user's text, which matplotlib must not read as mathematics.
        caption = each["caption"].replace("$", r"\$").replace(" ", "\n", 2)
        grid[0][column].set_title(caption, fontsize=7, pad=0)
    for row, name in enumerate(("real", "drawn")):
        grid[row][0].text2D(
            -0.05, 0.5, name, transform=grid[row][0].transAxes, rotation=90, fontsize=7, va="center"
        )


def _scatter(axes: Any, points: Any, reach: float) -> None:
    x, y, z = zip(*points, strict=True)
    axes.scatter(
        x,
        y,
        z,
        c=[a - b for a, b in zip(y, x, strict=True)],
        cmap="Blues_r",
        s=2.5,
        vmin=-1.5 * reach,
        vmax=1.5 * reach,
        depthshade=False,
    )
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), zlim=(-reach, reach))
    axes.set_box_aspect((1, 1, 1), zoom=1.7)
    axes.view_init(ELEVATION, AZIMUTH)
    axes.set_axis_off()
