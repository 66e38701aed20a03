"""Lifecycle rules on PostgreSQL."""

from databosun.engines.postgresql.lifecycle.session import LIFECYCLE

__all__ = ["LIFECYCLE"]
