"""View-models that pages share: dates, labels, alerts, tables. Pure."""
