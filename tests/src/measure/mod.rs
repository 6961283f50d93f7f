//! What measurements need: two servers with their Redis, and terminals that are many.

mod crowd;
mod herd;
mod testbed;

pub use crowd::{Crowd, ONE_BY_ONE};
pub use herd::{Says, Speaks, serve_herd_if_asked};
pub use testbed::Testbed;

/// The one in the middle.
pub fn median(all: &[f64]) -> f64 {
    quantile(all, 0.5)
}

/// Says whether a figure is within its bound, as `--check` asks, and returns that.
pub fn is_within(holds: bool, bound: &str) -> bool {
    let verdict = if holds { "within" } else { "ABOVE" };
    println!("  {verdict} the bound of {bound}");
    holds
}

/// The one that this share of all is below.
pub fn quantile(all: &[f64], share: f64) -> f64 {
    let mut sorted = all.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at).copied().unwrap_or_default()
}
