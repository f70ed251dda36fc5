"""What runs on the edge alone: arrivals, the controller and the ledger of requests."""
