"""Tests with processes of their own."""


def pytest_configure(config):
    config.addinivalue_line("markers", "system: with processes of its own")
