"""What runs on every machine of a testbed: queue, stages, links, and the record of what happened there."""
