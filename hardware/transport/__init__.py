"""Parcels of tensors and control messages between the machines of a testbed, over ZeroMQ with CURVE.

A `Loop` owns the sockets of a process. Its one `Hub` listens; a `Lane` sends parcels to the hub of another machine,
a `Line` exchanges control messages with it, and a `Client` does so from a program that has no loop.
"""
