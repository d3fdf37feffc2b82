//! The seam's types as shuttle schedules them, with the names and signatures of parking_lot and crossbeam.
