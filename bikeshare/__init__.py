"""Keeps an hourly bike-demand forecast accurate in production by itself."""

__version__ = "0.1.0"
