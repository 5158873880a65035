"""The daemon: serves a bundle over gRPC and MQTT. Knows nothing of how a bundle is built."""

__version__ = "0.1.0"
