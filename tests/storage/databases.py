"""For which kind of database a test is; without a mark it runs on both."""

import pytest

only_sqlite = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
only_postgresql = pytest.mark.parametrize("url", ["postgresql"], indirect=True)
