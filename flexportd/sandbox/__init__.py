"""A Flexport simulator for `flexportd demo`, `flexportd sandbox`, tests and load: a seeded world that moves.

async with Sandbox(SandboxOptions(shipments=40, speed=0), Clock()) as box:
    events = await box.step(86_400)              # move the world a day; webhooks are sent if there is a receiver
    box.put({"_object": "/booking", ...})        # add or replace an object of any kind, without an event
    box.override("/invoice", ID, status="paid")  # change fields of one, without an event
    box.delete("/document", ID)                  # remove it from its list; its address responds 404
    box.fault("429", "^/invoices", times=2)      # inject a fault into two responses: see ANSWER_FAULTS
    box.requests.count("^/shipments")            # the request log; box.requests.tokens counts token requests
    box.fault("accepted_then_dropped", "^/bookings")   # of the next write: see WRITE_FAULTS
    [write.made for write in box.writes]         # what the writes so far made: see `ReceivedWrite`
    box.apply_amendments()                       # apply the pending amendments (fault `pending_amendment`) now
    box.world.export()                           # all that a mirror should contain now, by `_object` and id
"""

from flexportd.sandbox.faults import ANSWER_FAULTS, WRITE_FAULTS, Faults, parse_faults
from flexportd.sandbox.options import SandboxOptions
from flexportd.sandbox.server import Sandbox
from flexportd.sandbox.world.world import World, WorldPlan

__all__ = [
    "ANSWER_FAULTS",
    "WRITE_FAULTS",
    "Faults",
    "Sandbox",
    "SandboxOptions",
    "World",
    "WorldPlan",
    "parse_faults",
]
