"""State of an installation, saved and put back, and a bundle for whoever helps."""
