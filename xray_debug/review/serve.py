"""`streamlit`, with the app's pages loaded before it serves: else whoever opens the first waits for that."""

import sys

from streamlit.web.cli import main

import xray_debug.review.pages.navigation  # noqa: F401

if __name__ == "__main__":
    sys.exit(main(prog_name="streamlit"))
