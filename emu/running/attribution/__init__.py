"""Which stage, HBM region, opcode or loop of a program its time, bytes and multiply-adds belong to."""
