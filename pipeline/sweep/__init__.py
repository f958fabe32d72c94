"""Search for the network that suits a task, a device and a deadline."""
