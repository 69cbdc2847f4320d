"""What a run takes of each AWS service, and its bill line by line: the same for a run done and for one planned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from contracts.records import Transfer
from runs.price_list import BYTES_PER_GB, Architecture, PriceList
from runs.transfer import NOTHING

MONTH_S = 730 * 3600.0
"""AWS counts a month as 730 hours."""

FREE_TMP_MB = 512
TRAIN_TMP_MB = 4_096
"""The temporary folder of Train: the unpacked libraries lie there."""

LIBRARIES_BYTES = 172_000_000
RANGE_BYTES = 8 << 20
"""S3 objects are read in parallel ranges of this size."""

LOG_BYTES_PER_INVOCATION = 2_000
STREAM_PRICE = "dynamodb_lambda_stream_read_usd_per_request"


class LineItem(NamedTuple):
    """One line of a bill.

    Args:
        group: the service.
        amount: how much, in `unit`.
        price_usd: of one unit.
        estimated: whether the amount was not recorded, but follows from what was.
        in_budget: whether the run's own `cost_usd`, which its budget limits, holds it.
    """

    group: str
    name: str
    amount: float
    unit: str
    price_usd: float
    usd: float
    estimated: bool = False
    in_budget: bool = False


class FunctionUse(NamedTuple):
    """What one function did.

    Args:
        seconds: of all its invocations together.
        tmp_mb: its temporary storage.
    """

    name: str
    memory_mb: int
    seconds: float
    requests: float
    estimated: bool = False
    in_budget: bool = True
    tmp_mb: int = FREE_TMP_MB

    @property
    def gb_s(self) -> float:
        """Memory × time."""
        return self.seconds * self.memory_mb / 1024


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a run takes.

    Args:
        functions: those of the workers and the light ones.
        transfer: through the shared files, as metered; `recorded` where it was measured.
        stored_gb_months: on the shared files, while it runs.
        table_writes, table_reads: DynamoDB's request units.
        stream_reads: of the table's stream, by Lambda.
        s3_gets: ranges and objects read.
    """

    functions: Sequence[FunctionUse]
    transfer: Transfer = NOTHING
    recorded: bool = True
    stored_gb_months: float = 0.0
    table_writes: float = 0.0
    table_reads: float = 0.0
    table_bytes: float = 0.0
    stream_reads: float = 0.0
    s3_gets: float = 0.0

    @property
    def invocations(self) -> float:
        """Of all functions."""
        return sum(use.requests for use in self.functions)


def bill_lines(usage: Usage, prices: PriceList, architecture: Architecture = "x86_64") -> list[LineItem]:
    """The bill, line by line, by service."""
    guess = not usage.recorded
    reads, writes = usage.transfer.read_bytes / BYTES_PER_GB, usage.transfer.written_bytes / BYTES_PER_GB
    logs_gb = usage.invocations * LOG_BYTES_PER_INVOCATION / BYTES_PER_GB
    table_gb = usage.table_bytes / BYTES_PER_GB
    return [
        *_function_lines(usage.functions, prices, architecture),
        priced("EFS", "read", reads, "GB", prices, "efs_read_usd_per_gb", estimated=guess, in_budget=True),
        priced("EFS", "written", writes, "GB", prices, "efs_write_usd_per_gb", estimated=guess, in_budget=True),
        priced("EFS", "stored meanwhile", usage.stored_gb_months, "GB-month", prices, "efs_standard_usd_per_gb_month"),
        priced("DynamoDB", "writes", usage.table_writes, "unit", prices, "dynamodb_write_usd_per_unit"),
        priced("DynamoDB", "reads", usage.table_reads, "unit", prices, "dynamodb_read_usd_per_unit"),
        priced("DynamoDB", "stream reads", usage.stream_reads, "request", prices, STREAM_PRICE),
        priced("DynamoDB", "records, one month", table_gb, "GB-month", prices, "dynamodb_storage_usd_per_gb_month"),
        priced("S3", "objects and ranges read", usage.s3_gets, "request", prices, "s3_get_usd_per_request"),
        priced("CloudWatch", "logs", logs_gb, "GB", prices, "cloudwatch_logs_usd_per_gb"),
    ]


def priced(
    group: str,
    name: str,
    amount: float,
    unit: str,
    prices: PriceList,
    price: str,
    *,
    estimated: bool = True,
    in_budget: bool = False,
) -> LineItem:
    """A line of `amount` × the price of that name."""
    usd = prices.usd(price)
    return LineItem(group, name, amount, unit, usd, amount * usd, estimated, in_budget)


def total_usd(lines: Sequence[LineItem], *, in_budget: bool = False) -> float:
    """What the lines come to.

    Args:
        in_budget: only what the run's budget limits.
    """
    return sum(line.usd for line in lines if line.in_budget or not in_budget)


def _function_lines(functions: Sequence[FunctionUse], prices: PriceList, architecture: Architecture) -> list[LineItem]:
    """GB-seconds by function; requests and temporary storage of all of them together."""
    lines = []
    for use in functions:
        price = f"lambda_{architecture}_usd_per_gb_s"
        lines.append(
            priced(
                "Lambda", use.name, use.gb_s, "GB-s", prices, price, estimated=use.estimated, in_budget=use.in_budget
            )
        )
    for name, in_budget in (("requests: workers", True), ("requests: other functions", False)):
        requests = sum(use.requests for use in functions if use.in_budget == in_budget)
        estimated = any(use.estimated for use in functions if use.in_budget == in_budget)
        if requests:
            lines.append(
                priced(
                    "Lambda", name, requests, "request", prices, "lambda_usd_per_request",
                    estimated=estimated, in_budget=in_budget,
                )
            )  # fmt: skip
    tmp_gb_s = sum(use.seconds * max(0, use.tmp_mb - FREE_TMP_MB) for use in functions) / 1024
    lines.append(priced("Lambda", "temporary storage", tmp_gb_s, "GB-s", prices, "lambda_tmp_usd_per_gb_s"))
    return lines
