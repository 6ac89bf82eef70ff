"""A Flexport look-alike server for `flexportd demo`, `flexportd sandbox`, tests and load: a seeded world that moves.

async with Sandbox(SandboxOptions(shipments=40, speed=0), Clock()) as box:
    events = await box.step(86_400)              # move the world a day; webhooks are sent if there is a receiver
    box.put({"_object": "/booking", ...})        # add or replace an object of any kind, silently
    box.alter("/invoice", ID, status="paid")     # change fields of one, silently
    box.delete("/document", ID)                  # it leaves its list, and its address answers 404
    box.fault("429", "^/invoices", times=2)      # spoil the next two such answers: see ANSWER_FAULTS
    box.requests.count("^/shipments")            # what was asked; box.requests.tokens counts token requests
    box.world.export()                           # all that a mirror should hold now, by `_object` and id
"""

from flexportd.sandbox.faults import ANSWER_FAULTS, Faults, parse_faults
from flexportd.sandbox.options import SandboxOptions
from flexportd.sandbox.server import Sandbox
from flexportd.sandbox.world.world import World, WorldPlan

__all__ = ["ANSWER_FAULTS", "Faults", "Sandbox", "SandboxOptions", "World", "WorldPlan", "parse_faults"]
