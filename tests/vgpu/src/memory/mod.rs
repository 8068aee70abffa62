//! Device memory: allocations, shadow, shared memory, asynchronous copies, traffic counters.
