"""MQTT: the link to the broker, and a Mosquitto of the daemon's own."""
