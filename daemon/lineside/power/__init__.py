"""Power and heat: sensors, actuators, governor, privileged helper."""
