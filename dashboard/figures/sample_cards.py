"""Sample pictures as one block of HTML: a style that holds the pictures, and cards that name them. Pure.

The pictures never change while a run goes on, the predictions do. As two messages the first is sent once: what is
unchanged and larger than 10 kB stays in the browser. Every text is escaped, and every picture is base64.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from dashboard.figures.theme import Theme
from dashboard.views.predictions import RIGHT, UNKNOWN, Predictions, Sample

MEDIA_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg"}
SMALL_PX = 32
"""Pictures of at most this size are shown with their pixels, not blurred."""

SHOWN_PX = 84
MOST_INLINE_BYTES = 100_000


class CardColors(NamedTuple):
    """Of right and wrong: an icon and a word say the same."""

    right: str
    wrong: str


COLORS = {"light": CardColors("#0067a3", "#b34700"), "dark": CardColors("#56b4e9", "#ff9f5a")}
"""By the theme's name: blue and orange, which colour-blind people tell apart."""


def media_type(picture: bytes) -> str:
    """Of a PNG or JPEG file; empty for anything else."""
    return next((kind for begin, kind in MEDIA_TYPES.items() if picture.startswith(begin)), "")


def picture_style(pictures: Mapping[int, bytes], shape: tuple[int, int] | None) -> str:
    """The pictures as a `<style>` element: one class each, `lf-p` and its row in the validation split.

    Args:
        pictures: row → PNG or JPEG file; others are left out.
        shape: height and width of what the model takes.
    """
    rules = [
        f".lf-p{example}{{background-image:url(data:{kind};base64,{base64.b64encode(picture).decode()})}}"
        for example, picture in pictures.items()
        if (kind := media_type(picture))
    ]
    rendering = "pixelated" if shape is not None and max(shape) <= SMALL_PX else "auto"
    return f"<style>{LAYOUT.replace('RENDERING', rendering)}{''.join(rules)}</style>"


def cards(found: Predictions, samples: Sequence[Sample], theme: Theme) -> str:
    """A card for each sample: picture, what the model saw and how certain it was, what it is, and how that changed."""
    rounds = [checkpoint.parameters_round for checkpoint in found.checkpoints]
    colors = COLORS[theme.name]
    own = {"right": colors.right, "wrong": colors.wrong, "muted": theme.muted, "line": theme.grid}
    style = ";".join(f"--lf-{name}:{color}" for name, color in own.items())
    inner = "".join(_card(found, sample, rounds) for sample in samples)
    return f'<div class="lf-cards" style="{escape(style)};color:{escape(theme.text)}">{inner}</div>'


def top_three(top: Sequence[Mapping[str, object]], theme: Theme) -> str:
    """Bars of the likeliest classes of one picture, as `lambdafit predict --json` names them."""
    rows = []
    for place, one in enumerate(top):
        share = min(1.0, max(0.0, float(str(one["confidence"]))))
        name = escape(str(one["class_name"]))
        color = COLORS[theme.name].right if place == 0 else theme.muted
        rows.append(
            f'<div style="display:flex;gap:.6rem;align-items:center;margin:.25rem 0;color:{escape(theme.text)}">'
            f'<span style="width:9rem;overflow-wrap:anywhere">{name}</span>'
            f'<span style="flex:1;background:{escape(theme.grid)};border-radius:3px">'
            f'<span style="display:block;height:.9rem;border-radius:3px;width:{share:.1%};background:{escape(color)}">'
            f'</span></span><span style="width:4rem;text-align:right">{share * 100:.1f} %</span></div>'
        )
    return "".join(rows)


def own_picture(name: str, data: bytes) -> str:
    """A picture that somebody handed in, with its pixels; empty for a large file, and one that is no PNG or JPEG."""
    kind = media_type(data)
    if not kind or len(data) > MOST_INLINE_BYTES:
        return ""
    source = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    style = f"width:{SHOWN_PX}px;image-rendering:pixelated"
    return f'<img src="{source}" alt="{escape(name)}" style="{style}">'


def describe(found: Predictions, sample: Sample) -> str:
    """One sample in a sentence, for who cannot see the picture."""
    saw = f"the model sees {found.name(sample.predicted)}, {sample.confidence * 100:.0f} % sure"
    verdict = "right" if sample.is_right else "wrong"
    return f"Validation example {sample.example}, {found.name(sample.truth)}: {saw}: {verdict}"


def _card(found: Predictions, sample: Sample, rounds: Sequence[int]) -> str:
    kind, icon = ("right", "✓") if sample.is_right else ("wrong", "✗")
    history = found.history.get(sample.example, ())
    truth = "right" if sample.is_right else f"wrong: it is {escape(found.name(sample.truth))}"
    picture = f"lf-p lf-p{sample.example}" if media_type(sample.picture) else "lf-p lf-none"
    return (
        f'<figure class="lf-card lf-{kind}" title="{escape(_changes(history, rounds))}">'
        f'<span class="{picture}" role="img" aria-label="{escape(describe(found, sample))}"></span>'
        f"<figcaption><b>{icon} {escape(found.name(sample.predicted))}</b> {sample.confidence * 100:.0f} %"
        f"<small>{truth}</small></figcaption>"
        f'<i style="background:{_strip(history)}"></i></figure>'
    )


def _changes(history: Sequence[int], rounds: Sequence[int]) -> str:
    """How often the sample was seen right, and when it was not."""
    known = [(index, look) for index, look in zip(rounds, history, strict=False) if look != UNKNOWN]
    wrong = [index for index, look in known if look != RIGHT]
    text = f"right at {len(known) - len(wrong)} of {len(known)} checkpoints"
    if not wrong or len(wrong) == len(known):
        return text
    listed = ", ".join(map(str, wrong[-8:]))
    return f"{text}; wrong after round{'s' if len(wrong) > 1 else ''} {'… ' if len(wrong) > 8 else ''}{listed}"


def _strip(history: Sequence[int]) -> str:
    """A CSS gradient with hard edges, one stretch for each time that it changed."""
    if not history:
        return "none"
    stops, begin = [], 0
    for index in range(1, len(history) + 1):
        if index == len(history) or history[index] != history[begin]:
            color = f"var(--lf-{ {RIGHT: 'right', UNKNOWN: 'line'}.get(history[begin], 'wrong') })"
            stops.append(f"{color} {begin / len(history):.1%} {index / len(history):.1%}")
            begin = index
    return f"linear-gradient(90deg,{','.join(stops)})"


LAYOUT = f"""
.lf-cards{{display:grid;grid-template-columns:repeat(auto-fill,minmax(118px,1fr));gap:.6rem}}
.lf-card{{margin:0;padding:.5rem;border:1px solid var(--lf-line);border-radius:8px;text-align:center;overflow:hidden}}
.lf-card.lf-wrong{{border:2px solid var(--lf-wrong)}}
.lf-p{{display:block;width:{SHOWN_PX}px;height:{SHOWN_PX}px;margin:0 auto .35rem;background-size:contain;
background-repeat:no-repeat;background-position:center;image-rendering:RENDERING}}
.lf-none{{border:1px dashed var(--lf-muted)}}
.lf-card figcaption{{font-size:.85rem;line-height:1.25;overflow-wrap:anywhere}}
.lf-card b{{color:var(--lf-right)}}
.lf-wrong b{{color:var(--lf-wrong)}}
.lf-card small{{display:block;color:var(--lf-muted)}}
.lf-card i{{display:block;height:5px;margin-top:.35rem;border-radius:2px}}
"""
