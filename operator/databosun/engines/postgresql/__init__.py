"""The PostgreSQL engine. Imported on use by the registry, so that the operator never loads the driver."""

from databosun.engines.postgresql.engine import ENGINE

__all__ = ["ENGINE"]
