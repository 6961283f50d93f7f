//! What checkers say that watch the boundary of an instance: to what has not happened, and to instances
//! that have other settings than the checkers go by.

mod directory;
mod doubt;
mod drain;
mod ends;
mod excuses;
mod figures;
mod given_up;
mod recorder;
mod strangers;
mod times;
mod topics;
