"""What remembers: tables, lease, checkpoints, snapshots, alerts, dead letters."""
