"""The figure of the outcome: spectrograms of clips, with what is said and what is written."""

from typing import Any

LONGEST = 60  # characters of a text in a title


def draw(figure: Any, content: Any) -> None:
    """Draw a spectrogram for each clip below its two texts."""
    clips = content["clips"]
    figure.set_size_inches(6.5, 0.55 + 1.15 * len(clips))
    for axes, clip in zip(figure.subplots(len(clips), 1, squeeze=False)[:, 0], clips, strict=True):
        bands = len(clip["power"])
        extent = (0, content["seconds"], 0, bands)
        axes.imshow(clip["power"], origin="lower", aspect="auto", cmap="Greys", extent=extent)
        title = f"said: {_plain(clip['said'])}\nwritten: {_plain(clip['written'])}"
        axes.set_title(title, fontsize=7, loc="left", pad=2)
        axes.set_ylabel("band", fontsize=7)
        axes.tick_params(labelsize=6)
    axes.set_xlabel("seconds", fontsize=7)


def _plain(text: str) -> str:
    """Return a user's text as one line that matplotlib does not read as mathematics."""
    line = " ".join(text.split())
    cut = line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."
    return "".join(c if c.isprintable() else "?" for c in cut).replace("$", r"\$")
