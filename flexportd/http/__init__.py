"""What ingest and expose share of HTTP: responses, problem documents, compression, connections. Knows no freight."""
