"""What a service manager asks of the daemon: notifications, proof of progress, a reload."""
