"""A Flexport look-alike server for `flexportd demo`, `flexportd sandbox`, tests and load: a seeded world that moves."""

from flexportd.sandbox.faults import ANSWER_FAULTS, Faults, parse_faults
from flexportd.sandbox.options import SandboxOptions
from flexportd.sandbox.server import Sandbox
from flexportd.sandbox.world import World, WorldPlan

__all__ = ["ANSWER_FAULTS", "Faults", "Sandbox", "SandboxOptions", "World", "WorldPlan", "parse_faults"]
