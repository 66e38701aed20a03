"""Lifecycle rules on MariaDB and MySQL."""

from databosun.engines.mysql.lifecycle.session import LIFECYCLE

__all__ = ["LIFECYCLE"]
