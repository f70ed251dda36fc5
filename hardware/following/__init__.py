"""The live twin: it follows a run on a testbed, predicts each next interval and notices when it has gone wrong."""
