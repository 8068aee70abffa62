//! Order between accesses: barriers, vector clocks, races.
