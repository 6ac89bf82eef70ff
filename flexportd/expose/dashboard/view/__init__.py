"""View models that pages share: dates, labels, alerts, tables. Pure.

A view model is a `SimpleNamespace` with exactly the attributes that its template shows; a test compares them.
"""
