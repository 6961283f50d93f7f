//! Behaviours of one instance, each as input and expected commands.

mod chance;
mod drain;
mod lease;
mod life;
mod rows;
mod settling;
mod view;
