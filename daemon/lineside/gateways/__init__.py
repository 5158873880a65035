"""What gateways send on topics of their own, as reports. Knows nothing of MQTT clients and journals."""
