"""Failover tests of MariaDB and MySQL: asynchronous replication by GTID, Group Replication, StatefulSets."""
