"""The words and equations of the field: frozen types and pure functions, no input or output."""
