"""The parts of bench/limits: Redis, the pods that count together, the loads, and what they admitted."""
