//! The owner of a partition as a pure state machine.
