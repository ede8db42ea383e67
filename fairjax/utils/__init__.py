"""The ground floor: errors, storage, randomness, devices, processes, progress, command lines."""
