"""Lifecycle rules on Redis and Valkey."""

from databosun.engines.redis.lifecycle.session import LIFECYCLE

__all__ = ["LIFECYCLE"]
