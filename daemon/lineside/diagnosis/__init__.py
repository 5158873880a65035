"""From a fault report to a cited diagnosis. Knows nothing of wires, of engines or of the journal."""
