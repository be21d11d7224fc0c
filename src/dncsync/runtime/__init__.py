"""What calls the steps: here one process with a thread per system (design section 9)."""
