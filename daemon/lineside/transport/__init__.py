"""Wires to the domain and back: gRPC and MQTT. Knows the ports, never an engine or a scheduler."""
