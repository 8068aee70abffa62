//! What went wrong and where; what was counted.
