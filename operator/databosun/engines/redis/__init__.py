"""The Redis engine, for Redis and Valkey. Imported on use by the registry."""

from databosun.engines.redis.engine import ENGINE

__all__ = ["ENGINE"]
