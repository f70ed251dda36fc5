"""A hub as a process of its own: prints its port, then, when its input ends, what has arrived."""

import json
import sys

from wires import NotingHub

from hardware.transport.loop import Loop


def main():
    loop = Loop()
    noting = NotingHub(loop, port=sys.argv[1])
    sys.stdout.write(json.dumps({"port": noting.hub.port}) + "\n")
    sys.stdout.flush()
    loop.watch(0, loop.stop)
    loop.run()
    arrived = [(sender, parcel.request) for sender, parcel in noting.parcels]
    sys.stdout.write(json.dumps({"requests": arrived, "events": noting.events, "dropped": noting.hub.dropped}) + "\n")
    noting.hub.close()
    loop.close()


if __name__ == "__main__":
    main()
