"""An independent model of the machine in plain Python and numpy, written from the spec alone.

It shares no code with the kernels it checks; of the product it imports only the instruction table.
"""
