"""One machine in the place of several: links through a shaping proxy or the kernel, devices slowed down."""
