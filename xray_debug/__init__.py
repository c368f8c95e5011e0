"""xray-debug: is a chest X-ray classifier right for the wrong reason?"""
