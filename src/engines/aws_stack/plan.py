"""What a deployment makes."""

from __future__ import annotations

from collections import Counter

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


def made(resources: Counter[str]) -> list[str]:
    """What a template makes, in words: `9 functions`, ….

    Args:
        resources: how many of each type.
    """
    lines = [f"{resources[kind]} {words}" for kind, words in MAKES if resources[kind]]
    others = resources.total() - sum(resources[kind] for kind, _ in MAKES)
    return [*lines, f"{others} other resources: subnets, log groups, permissions, …"]
