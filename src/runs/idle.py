"""What a deployed stack costs a month while nobody trains: storage, and what goes on by itself."""

from __future__ import annotations

from typing import NamedTuple

from runs.bill import SMALL_MEMORY_MB, SWEEP_S
from runs.price_list import BYTES_PER_GB, Architecture, PriceList, price_list
from runs.usage import LIBRARIES_BYTES, LineItem, priced, total_usd

SWEEPS = 730 * 60
"""One a minute."""

IDLE_SWEEP_S = SWEEP_S / 3
"""It finds no open run and leaves."""

SWEEP_LOG_BYTES = 460
ALARM_METRICS = 10
QUEUE_POLLS_PER_MINUTE = 15
"""Lambda asks a queue that feeds a function with five pollers, each waiting 20 s."""

DATA_GB = 0.055
"""A data set like Fashion-MNIST, on the shared files and in the bucket."""

RUNS_GB = 0.02
"""Models and parameters of some runs."""

TABLE_GB = 0.01
CODE_GB = 0.04

ASSUMPTIONS = (
    "Stored: one data set like Fashion-MNIST (55 MB), 20 MB of models, 10 MB of records, the libraries "
    f"({LIBRARIES_BYTES / 1e6:.0f} MB).",
    "EFS in the standard class: after 30 days without access it is infrequent access, about a twentieth of the price.",
    f"Sweep: {IDLE_SWEEP_S:.1f} s a minute at {SMALL_MEMORY_MB} MB, and {SWEEP_LOG_BYTES} bytes of logs, kept.",
    "Not counted: free tiers, which cover most of this in an account without other uses: a million of SQS's requests, "
    "ten alarms, Lambda's first million requests, 25 GB of DynamoDB.",
)


class IdleCost(NamedTuple):
    """What a month costs."""

    region: str
    price_date: str
    prices: str
    lines: tuple[LineItem, ...]
    total_usd: float
    assumptions: tuple[str, ...]


def idle_cost(
    *,
    architecture: Architecture = "x86_64",
    region: str = "",
    files_gb: float = DATA_GB + RUNS_GB,
    table_gb: float = TABLE_GB,
    bucket_gb: float = DATA_GB + LIBRARIES_BYTES / BYTES_PER_GB + CODE_GB,
) -> IdleCost:
    """A month of a stack that nobody uses.

    Args:
        files_gb: on the shared files.
        table_gb: records and telemetry.
        bucket_gb: data sets, libraries, code.
    """
    prices = price_list(region)
    lines = tuple(_lines(prices, architecture, files_gb, table_gb, bucket_gb))
    return IdleCost(prices.region, prices.date, prices.origin, lines, total_usd(lines), ASSUMPTIONS)


def _lines(
    prices: PriceList, architecture: Architecture, files_gb: float, table_gb: float, bucket_gb: float
) -> list[LineItem]:
    gb_s = SWEEPS * IDLE_SWEEP_S * SMALL_MEMORY_MB / 1024
    logs_gb = SWEEPS * SWEEP_LOG_BYTES / BYTES_PER_GB
    polls = QUEUE_POLLS_PER_MINUTE * 60 * 730
    rows = (
        ("EFS", "shared files", files_gb, "GB-month", "efs_standard_usd_per_gb_month"),
        ("EFS", "their backup", files_gb, "GB-month", "efs_backup_usd_per_gb_month"),
        ("DynamoDB", "table", table_gb, "GB-month", "dynamodb_storage_usd_per_gb_month"),
        ("DynamoDB", "point-in-time recovery", table_gb, "GB-month", "dynamodb_recovery_usd_per_gb_month"),
        ("S3", "bucket", bucket_gb, "GB-month", "s3_standard_usd_per_gb_month"),
        ("Lambda", "Sweep", gb_s, "GB-s", f"lambda_{architecture}_usd_per_gb_s"),
        ("Lambda", "Sweep: requests", SWEEPS, "request", "lambda_usd_per_request"),
        ("EventBridge", "Sweep's schedule", SWEEPS, "invocation", "eventbridge_schedule_usd_per_invocation"),
        ("DynamoDB", "Sweep's look for open runs", SWEEPS / 2, "unit", "dynamodb_read_usd_per_unit"),
        ("SQS", "Lambda's polling of the queue of failed tasks", polls, "request", "sqs_usd_per_request"),
        ("CloudWatch", "alarm metrics", ALARM_METRICS, "metric", "cloudwatch_alarm_usd_per_month"),
        ("CloudWatch", "logs written", logs_gb, "GB", "cloudwatch_logs_usd_per_gb"),
        ("CloudWatch", "logs kept", logs_gb, "GB-month", "cloudwatch_logs_stored_usd_per_gb_month"),
    )
    return [priced(group, name, amount, unit, prices, price) for group, name, amount, unit, price in rows]
