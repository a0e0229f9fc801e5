"""The network in OpenVINO, an optional faster runtime for CPUs."""
