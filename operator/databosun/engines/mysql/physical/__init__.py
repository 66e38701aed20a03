"""Copies of the data directory itself, by mariadb-backup."""
