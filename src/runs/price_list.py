"""The dated price snapshot: `prices.json` beside this file, by region. A price's name says its unit.

A region that the snapshot does not have is counted in the prices of its default region, and whoever shows a figure
says so: prices elsewhere differ, by up to a third.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

Architecture = Literal["x86_64", "arm64"]

BYTES_PER_GB = 1e9
"""Decimal, which is never too low: a bill in GiB is 7 % lower."""


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One price in USD; `source` is a key of the snapshot's sources."""

    usd: float
    source: str
    approximate: bool = False


class RegionPrices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All prices of a region, as of a date."""

    date: str
    prices: dict[str, Price]


class Snapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    date: str
    default_region: str
    sources: dict[str, str]
    regions: dict[str, RegionPrices]


class PriceList(NamedTuple):
    """The prices that a region is counted in.

    Args:
        asked: the region that was asked for.
        region: the one that the prices are of.
    """

    asked: str
    region: str
    date: str
    prices: dict[str, Price]

    def usd(self, name: str) -> float:
        """One price, by its name with the unit."""
        return self.prices[name].usd

    def is_approximate(self, name: str) -> bool:
        """Whether the price is not an exact list price."""
        return self.prices[name].approximate

    @property
    def origin(self) -> str:
        """Where the prices are from, in one sentence for people."""
        known = f"prices of {self.region}, {self.date}"
        return known if self.asked == self.region else f"{known}: there are none of {self.asked}, which differ"


@cache
def snapshot() -> Snapshot:
    """The file, read once."""
    return msgspec.json.decode(Path(__file__).with_name("prices.json").read_bytes(), type=Snapshot)


@cache
def price_list(region: str = "") -> PriceList:
    """The prices to count a region in: its own, or the default region's.

    Args:
        region: empty for the default.
    """
    found = snapshot()
    asked = region or found.default_region
    used = asked if asked in found.regions else found.default_region
    return PriceList(asked, used, found.regions[used].date, found.regions[used].prices)
