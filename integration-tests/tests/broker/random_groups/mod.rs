//! Pure: random scripts of group requests from a seed, to Apache's broker and ours in step.

pub mod answers;
mod run;
mod script;
