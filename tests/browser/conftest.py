"""One browser for all tests of this room."""

import pytest
from browser_fixture import open_browser


@pytest.fixture(scope="session")
def browser():
    with open_browser() as found:
        yield found
