"""What a failover test measures with: clients that write, and watchers of single nodes."""
