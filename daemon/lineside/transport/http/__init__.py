"""HTTP, for scrapers of metrics alone."""
