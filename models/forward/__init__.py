"""The reference forward in numpy f32 (spec §9.7), and the same with what the machine can hold."""
