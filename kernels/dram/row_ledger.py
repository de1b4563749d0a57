"""Charge the row hits, misses and conflicts of a DRAM to the memory events that caused them (spec §4.8).

A transfer counts by the first command issued for it. For a read that is during its event; a write may wait in its queue
while later events run. So a queued write carries its *owner*, the event it belongs to, and a channel writes down the
first commands of other owners' writes (`write_log`). Whatever else a channel counted belongs to the present owner.
"""

from ..compiler.jit import kernel
from ..memory.ledger import LG_ROW_MISSES, add
from .state import FIRST_COMMANDS, KINDS

REGION_BITS = 31  # of an owner: word index above region


@kernel
def owner_of(pc, region):
    """Put an event's word index and region into one integer."""
    return pc << REGION_BITS | region


@kernel
def set_owner(state, owner):
    """Let what the channels are sent from now on belong to `owner`."""
    for number in range(state.config[0].channels):
        state.channels[number].owner = owner


@kernel
def charge_row(ledger, owner, kind, amount):
    """Charge transfers with a first command of a kind."""
    add(ledger, owner >> REGION_BITS, owner & ((1 << REGION_BITS) - 1), LG_ROW_MISSES + kind, amount)


@kernel
def charge_rows(state, ledger, owner):
    """Charge what the channels counted since the last call: logged writes to their owners, the rest to `owner`."""
    if len(ledger.by_pc) == 0:
        return
    twins = state.config[0].lockstep_channels
    for number in range(state.config[0].channels):
        channel = state.channels[number]
        for at in range(channel.write_logged):
            entry = channel.write_log[at]
            charge_row(ledger, entry >> 2, entry & 3, twins)
            channel.charged[entry & 3] += 1
        channel.write_logged = 0
        for kind in range(KINDS):
            grown = channel.count[FIRST_COMMANDS + kind] - channel.charged[kind]
            if grown != 0:
                charge_row(ledger, owner, kind, twins * grown)
                channel.charged[kind] += grown
