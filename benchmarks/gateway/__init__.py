"""The gateway beside other reverse proxies."""
