"""Dashboards in MLflow."""
