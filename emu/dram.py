"""DRAM behind its controller as a library (spec chapter 4). `new_state` builds a memory for `kernels.dram_batch`."""

import numpy as np
from .boards.dram_schema import COMMANDS, LEVELS, DramDescription, load_dram
from .kernels import dram_state as at

def new_state(description: DramDescription, revision: str = "base") -> at.DramState:
    config = np.zeros(1, at.CONFIG).view(np.recarray)
    cfg = config[0]
    org = description.organisation
    bank_bits = _width(org.bank)
    cfg.period = description.period_ps
    cfg.latency = description.read_latency
    cfg.interval = description.refresh.interval if description.refresh else 0
    cfg.channels = org.channel
    cfg.ranks = org.rank
    cfg.part_bytes = description.transfer_bytes
    cfg.parts = 64 // description.transfer_bytes
    cfg.limit[:] = (description.queues.read, description.queues.write)
    cfg.direct = description.queues.read >= 8 * cfg.parts
    cfg.enter, cfg.leave = description.write_mode.enter, description.write_mode.leave
    places = _place_columns(description, at.LANES)
    for byte in range(8):
        for value in range(256):
            cfg.place[byte, value] = _xor(places[8*byte+bit] for bit in range(8) if value >> bit & 1)
    for part in range(int(cfg.parts)):
        cfg.part_place[part] = _xor(places[b] for b in range(6) if (part*description.transfer_bytes) >> b & 1)
    _fill_rules(cfg, description, revision)
    channels = np.zeros(org.channel, at.STATE).view(np.recarray)
    channels.key = at.EMPTY
    channels.slot_key = at.EMPTY
    channels.open_row = at.NONE
    channels.head = at.NO_SLOT
    channels.free = np.arange(at.SLOTS)
    channels.next_refresh = cfg.interval
    return at.DramState(config, np.zeros(1, at.FRONT).view(np.recarray), channels, np.zeros(0, at.ACCESS).view(np.recarray))

def _width(count):
    return count.bit_length() - 1

def _xor(values):
    total = 0
    for v in values: total ^= v
    return total

def _place_columns(d, rank_banks):
    """place contribution of each address bit"""
    columns = [0]*64
    org = d.organisation
    def put(field, at_bit):
        for i, mask in enumerate(d.bit_masks(field)):
            for b in range(64):
                if mask >> b & 1:
                    columns[b] ^= 1 << (at_bit+i)
    put('bank', 0)
    put('bankgroup', _width(org.bank))
    put('rank', _width(rank_banks))
    put('channel', at.PLACE_BANK_BITS)
    row = d.mapping.row
    for i in range(64-row.first):
        columns[row.first+i] ^= 1 << (at.PLACE_ROW+i)
    for i,b in enumerate(row.xor):
        columns[b] ^= 1 << (at.PLACE_ROW+i)
    return columns

def _fill_rules(cfg, description, revision):
    rows = _effective(description.timing_rows(revision))
    org = description.organisation
    n=0; w=0
    for c,name in enumerate(COMMANDS):
        cfg.rule_at[c]=n
        for r in rows:
            if r.after!=name: continue
            rule = cfg.rule[n]
            rule[at.RULE_LEVEL] = LEVELS.index(r.level)
            rule[at.RULE_BANKS] = org.bank if r.level == "bankgroup" else 1
            rule[at.RULE_BEFORE] = COMMANDS.index(r.before)
            rule[at.RULE_CLOCKS] = r.clocks
            rule[at.RULE_WINDOW] = r.window
            if r.window>1:
                rule[at.RULE_RECENT] = w; w+=1
            n+=1
    cfg.rule_at[len(COMMANDS)]=n

def _effective(rows):
    def covered(row, other):
        return (other is not row and (other.after, other.before) == (row.after, row.before) and other.window == row.window == 1
            and LEVELS.index(other.level) < LEVELS.index(row.level) and other.clocks >= row.clocks)
    return [r for r in rows if not any(covered(r, o) for o in rows)]
