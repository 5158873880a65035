"""What technicians say of diagnoses, and what the plant learns of it. Knows nothing of wires or of models."""
