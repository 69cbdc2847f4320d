"""What a deployment makes, and what it costs while nothing runs."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from runs.price_list import PriceList

LIBRARIES_GB = 0.3
SWEEPS = 43_200
"""One a minute, for a month."""

SWEEP_GB_S = 0.256 * 0.1
STORED_FOR_TRIES_GB = 0.1
"""Data sets, runs and models of first tries."""

MAKES = (
    ("AWS::Serverless::Function", "functions"),
    ("AWS::EC2::VPC", "network without a way out"),
    ("AWS::EFS::FileSystem", "encrypted file system"),
    ("AWS::DynamoDB::Table", "table"),
    ("AWS::S3::Bucket", "private bucket"),
    ("AWS::SQS::Queue", "queues"),
    ("AWS::IAM::Role", "roles"),
    ("AWS::CloudWatch::Alarm", "alarms"),
    ("AWS::Serverless::HttpApi", "HTTP API for callers with AWS credentials"),
    ("AWS::ApiGatewayV2::Api", "HTTP API for callers with AWS credentials"),
)


class IdleCost(NamedTuple):
    """One line of the bill of a month in which nothing runs."""

    what: str
    usd: float


def made(resources: Counter[str]) -> list[str]:
    """What a template makes, in words: `9 functions`, ….

    Args:
        resources: how many of each type.
    """
    lines = [f"{resources[kind]} {words}" for kind, words in MAKES if resources[kind]]
    others = resources.total() - sum(resources[kind] for kind, _ in MAKES)
    return [*lines, f"{others} other resources: subnets, log groups, permissions, …"]


def idle_costs(resources: Counter[str], prices: PriceList) -> list[IdleCost]:
    """What a month costs in which nothing runs, at list prices and without any free tier."""
    sweep_usd = SWEEPS * (
        prices.usd("lambda_usd_per_request") + SWEEP_GB_S * prices.usd("lambda_x86_64_usd_per_gb_s")
        + prices.usd("eventbridge_schedule_usd_per_invocation")
    )  # fmt: skip
    stored_usd = STORED_FOR_TRIES_GB * (
        prices.usd("efs_standard_usd_per_gb_month") + prices.usd("efs_backup_usd_per_gb_month")
        + prices.usd("s3_standard_usd_per_gb_month") + prices.usd("dynamodb_storage_usd_per_gb_month")
        + prices.usd("dynamodb_recovery_usd_per_gb_month")
    )  # fmt: skip
    alarms = resources["AWS::CloudWatch::Alarm"]
    return [
        IdleCost(f"{alarms} alarms", alarms * prices.usd("cloudwatch_alarm_usd_per_month")),
        IdleCost("a sweep once a minute", sweep_usd),
        IdleCost("the libraries archive in S3", LIBRARIES_GB * prices.usd("s3_standard_usd_per_gb_month")),
        IdleCost(f"{STORED_FOR_TRIES_GB:g} GB in each of EFS with its backup, S3 and DynamoDB", stored_usd),
    ]
