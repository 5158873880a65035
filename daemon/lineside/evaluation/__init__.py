"""How good the diagnoses are, measured on labelled reports. Nothing of it leaves the machine."""
