"""The examiner: plans tools, fuses their evidence, explains, and logs what it did."""
