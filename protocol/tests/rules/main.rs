//! One test for each rule of the fold and of the writer, in steps that can be read: what a test says is all that happens.

mod fold;
mod harness;
mod small;
