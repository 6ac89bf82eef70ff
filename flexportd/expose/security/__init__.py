"""Security of HTTP requests: authentication, access policy, CORS and CSRF, rate limits, authorization."""
