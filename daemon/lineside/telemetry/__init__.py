"""How the daemon tells of itself. Knows nothing of requests' contents."""
