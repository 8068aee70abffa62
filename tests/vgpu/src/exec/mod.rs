//! The warp interpreter: lanes, divergence, arithmetic, collectives.
