"""Empties the outbox: to the log, webhooks and Alertmanager."""
