"""Damaged and hostile files by the thousand, kills and power loss: ``make test-faults``."""
