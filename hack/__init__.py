"""Tools for working on Databosun: a cluster, images and pinned programs."""
