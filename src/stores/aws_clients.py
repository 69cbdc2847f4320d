"""The one place where functions get their boto3 clients. boto3 is imported only when one is wanted: it takes 0.2 s, and
a run on a laptop never wants one.

Region, credentials and endpoints come from the standard variables (AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL_…).
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from contracts.stack_errors import RegionMissing

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 15.0
CONNECTIONS = 40
"""More than the threads that invoke or read side by side (32)."""

ATTEMPTS = 5
PATIENT_ELSEWHERE = frozenset({"dynamodb"})
"""Services whose requests are sent again by who sends them: for DynamoDB `stores.dynamodb_table`, which begins with
25 ms. botocore's own waits begin with a second, and would come first."""


@cache
def client(service: str, *, read_timeout_s: float = READ_TIMEOUT_S, attempts: int | None = None) -> Any:
    """A client of one AWS service, made once; many threads may use it.

    Args:
        service: as boto3 names it, such as "dynamodb".
        read_timeout_s: how long an answer may take.
        attempts: the first one included; 1 where a second would do harm. Of itself it follows from the service.
    Raises:
        RegionMissing: no region is named anywhere.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import NoRegionError

    if attempts is None:
        attempts = 1 if service in PATIENT_ELSEWHERE else ATTEMPTS
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=read_timeout_s,
        max_pool_connections=CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": attempts},
        account_id_endpoint_mode="disabled",  # the regional endpoint: the one that the VPC's gateway is for
        user_agent_appid="lambdafit",
    )
    try:
        # Lambda sets both variables; of itself boto3 knows only AWS_DEFAULT_REGION and the profile's.
        return boto3.client(service, region_name=os.environ.get("AWS_REGION") or None, config=config)
    except NoRegionError:
        raise RegionMissing(f"{service} client", "no region is set", "one in AWS_REGION") from None
