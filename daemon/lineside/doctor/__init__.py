"""`lineside doctor`: what is wrong with this machine for the daemon, and what to do. Looks, never changes."""
