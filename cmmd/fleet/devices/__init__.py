"""Devices: registry, enrolment, passwords, settings, presence, inputs."""
