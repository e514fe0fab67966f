//! What is measured, in the words of the store: the client's commands, and the two baselines that
//! take the same ones.

pub mod event_store;
pub mod honest;
pub mod hostile;
pub mod load;
pub mod open_loop;
pub mod produce_only;
