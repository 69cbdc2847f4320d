"""The price snapshot is whole, and every price says where it is from."""

from __future__ import annotations

import datetime
import re

import pytest

from runs.price_list import price_list, snapshot

UNITS = r"gb|gb_s|gb_month|request|unit|invocation|month|hour|vcpu_hour"


def test_the_snapshot_is_dated_and_has_its_default_region() -> None:
    found = snapshot()
    assert datetime.date.fromisoformat(found.date).year >= 2026
    assert found.default_region in found.regions
    for region in found.regions.values():
        assert datetime.date.fromisoformat(region.date).isoformat() <= found.date


def test_every_price_has_a_unit_in_its_name_a_value_and_a_source() -> None:
    found = snapshot()
    for region, listed in found.regions.items():
        for name, price in listed.prices.items():
            assert re.fullmatch(rf"[a-z0-9_]+_usd_per_({UNITS})", name), f"{region} {name}"
            assert price.usd >= 0, name
            assert found.sources[price.source].startswith("https://"), name


def test_all_regions_have_the_same_prices() -> None:
    names = [set(region.prices) for region in snapshot().regions.values()]
    assert all(one == names[0] for one in names)


def test_arm_and_commitment_are_cheaper() -> None:
    """A price that was typed into the wrong place shows here."""
    prices = price_list()
    assert prices.usd("lambda_arm64_usd_per_gb_s") < prices.usd("lambda_x86_64_usd_per_gb_s")
    for machine in ("t2_xlarge", "c7i_xlarge", "p4d_24xlarge"):
        on_demand = prices.usd(f"ec2_{machine}_on_demand_usd_per_hour")
        for kind in ("reserved", "spot"):
            assert prices.usd(f"ec2_{machine}_{kind}_usd_per_hour") < on_demand


@pytest.mark.parametrize(("asked", "used"), [("", "us-east-1"), ("us-east-1", "us-east-1"), ("mars-1", "us-east-1")])
def test_an_unknown_region_is_counted_in_the_default_and_says_so(asked: str, used: str) -> None:
    prices = price_list(asked)
    assert prices.region == used
    assert ("there are none of mars-1" in prices.origin) == (asked == "mars-1")
    assert prices.date in prices.origin
