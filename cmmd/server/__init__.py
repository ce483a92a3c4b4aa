"""Floor 3: devices come in here."""
