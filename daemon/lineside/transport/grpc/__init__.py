"""gRPC: the server of all services, and the client of the command line."""
