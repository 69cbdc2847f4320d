"""The same work on a rented machine: on demand, reserved and spot, with what was assumed.

Nothing here was measured on these machines. A core there is taken for as fast as a core here.
"""

from __future__ import annotations

from typing import NamedTuple

from runs.price_list import PriceList
from runs.usage import MONTH_S

EFFICIENCY = 0.7
"""Share of the virtual CPUs' time that one training process puts to use."""

LEAST_BILLED_S = 60.0
DISK_GB = 30
BURST_CREDIT_VCPU_S = 120 * 60.0
"""t2.xlarge starts with 120 CPU credits, of one minute of a virtual CPU each."""

BASELINE_SHARE = 0.225
"""What a t2.xlarge's virtual CPUs may do for ever."""


class Machine(NamedTuple):
    """An instance type.

    Args:
        price: the beginning of its prices' names.
        vcpu_equivalents: how many virtual CPUs it is counted as.
        boot_s: from the request until the training process begins, billed.
    """

    name: str
    price: str
    vcpu_equivalents: int
    boot_s: float
    is_burstable: bool = False


MACHINES = (
    Machine("t2.xlarge", "ec2_t2_xlarge", 4, 90.0, is_burstable=True),
    Machine("c7i.xlarge", "ec2_c7i_xlarge", 4, 90.0),
    Machine("p4d.24xlarge", "ec2_p4d_24xlarge", 100, 300.0),
)

ASSUMPTIONS = (
    "EC2: one machine does all steps one after the other, without rounds; a virtual CPU there is as fast as a core "
    f"where this was measured, and {EFFICIENCY:.0%} of their time is put to use.",
    f"EC2: billed from boot (90 s; p4d 300 s) by the second, at least {LEAST_BILLED_S:.0f} s. A reserved machine costs "
    "its month whether it works or not; its figure for the work is that share of the month.",
    "EC2 p4d.24xlarge: no GPU's speed was measured; one of its eight GPUs works and is taken for 100 virtual CPUs, "
    "which a small network does not keep busy.",
    "EC2 t2.xlarge: 22.5 % of its virtual CPUs for ever, the rest from 120 credits, then at the price of T2 Unlimited.",
)


class MachineCost(NamedTuple):
    """What the work would cost on one machine, and what the machine costs a month."""

    name: str
    seconds: float
    on_demand_usd: float
    reserved_usd: float
    spot_usd: float
    on_demand_usd_per_month: float
    reserved_usd_per_month: float
    spot_usd_per_month: float
    approximate: tuple[str, ...]


def machine_costs(core_s: float, prices: PriceList) -> list[MachineCost]:
    """The same work on each machine.

    Args:
        core_s: seconds of one core that the training took.
    """
    return [_machine_cost(machine, core_s, prices) for machine in MACHINES]


def _machine_cost(machine: Machine, core_s: float, prices: PriceList) -> MachineCost:
    work_s = core_s / (machine.vcpu_equivalents * EFFICIENCY)
    seconds = max(LEAST_BILLED_S, machine.boot_s + work_s)
    names = {kind: f"{machine.price}_{kind}_usd_per_hour" for kind in ("on_demand", "reserved", "spot")}
    hourly = {kind: prices.usd(name) for kind, name in names.items()}
    burst_usd = _burst_usd(machine, work_s, prices)
    disk_usd = DISK_GB * prices.usd("ebs_gp3_usd_per_gb_month")
    work = {kind: (seconds / 3600) * usd + seconds / MONTH_S * disk_usd + burst_usd for kind, usd in hourly.items()}
    month = {kind: MONTH_S / 3600 * usd + disk_usd for kind, usd in hourly.items()}
    return MachineCost(
        machine.name,
        seconds,
        work["on_demand"],
        work["reserved"],
        work["spot"],
        month["on_demand"],
        month["reserved"],
        month["spot"],
        tuple(kind for kind, name in names.items() if prices.is_approximate(name)),
    )


def _burst_usd(machine: Machine, work_s: float, prices: PriceList) -> float:
    """What a burstable machine costs beyond its credits."""
    if not machine.is_burstable:
        return 0.0
    borrowed_s = machine.vcpu_equivalents * work_s * (1 - BASELINE_SHARE) - BURST_CREDIT_VCPU_S
    return max(0.0, borrowed_s) / 3600 * prices.usd("ec2_t2_unlimited_usd_per_vcpu_hour")
