"""xray-debug: is a chest X-ray classifier right for the wrong reason?"""

__version__ = "0.1.0"
