//! What a stock answers to each command, from each state.

mod adjust;
mod receive;
mod release;
mod reserve;
mod ship;
