"""Commands to devices: validation, queue, interlocks, dispatcher, verification, audit."""
