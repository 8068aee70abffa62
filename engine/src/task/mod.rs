//! The seven tasks: instruction and options in, typed answers out.
