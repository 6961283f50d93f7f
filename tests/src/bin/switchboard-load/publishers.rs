//! The publishers of a run, and what they were answered.

use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use switchboard_tests::api::{Api, Publisher, Receipt, push};
use switchboard_tests::http::Request;

use crate::LoadOptions;

#[derive(Default)]
pub(crate) struct Published {
    pub(crate) pushes: usize,
    pub(crate) refused: usize,
    pub(crate) degraded: usize,
    pub(crate) written: usize,
    pub(crate) failed: usize,
    pub(crate) latencies: Vec<u32>,
}

pub(crate) fn publish(
    options: &LoadOptions,
    apis: &[(SocketAddr, String)],
    begin: Instant,
) -> Published {
    let next = AtomicU64::new(0);
    let start = Instant::now();
    let all = thread::scope(|scope| {
        let publishers: Vec<_> = (0..options.publishers)
            .map(|publisher| {
                let (next, address) = (&next, apis[publisher % apis.len()].0);
                scope.spawn(move || publish_some(options, publisher, address, next, start, begin))
            })
            .collect();
        publishers
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect::<Vec<_>>()
    });
    all.into_iter().fold(Published::default(), |mut sum, part| {
        sum.pushes += part.pushes;
        sum.refused += part.refused;
        sum.degraded += part.degraded;
        sum.written += part.written;
        sum.failed += part.failed;
        sum.latencies.extend(part.latencies);
        sum
    })
}

/// Takes one push after another from the common count, at its time if there is a rate.
fn publish_some(
    options: &LoadOptions,
    publisher: usize,
    address: SocketAddr,
    next: &AtomicU64,
    start: Instant,
    begin: Instant,
) -> Published {
    let api = Api::new(address);
    let api = options
        .key
        .as_ref()
        .map_or(api.clone(), |key| api.with_key(key));
    let users = options.terminals.div_ceil(options.per_user);
    let mut connection: Option<Publisher> = None;
    let mut published = Published::default();
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n >= options.pushes as u64 {
            return published;
        }
        if options.rate > 0.0 {
            let due = start + Duration::from_secs_f64(n as f64 / options.rate);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let sent = begin.elapsed().as_micros();
        let mut body = format!("{publisher} {n} {sent} ").into_bytes();
        // A width of a format ends with 65,535.
        body.resize(body.len().max(options.bytes), b'.');
        let request = if options.broadcast {
            Request::new("POST", "/v1/broadcast").body(body)
        } else {
            push(&format!("user-{}", n % users as u64), body)
        };
        let mut open = connection.take().unwrap_or_else(|| api.publisher());
        let asked = Instant::now();
        let receipt = match open.try_send(request) {
            Ok(response) if response.status == 200 => {
                connection = Some(open);
                serde_json::from_slice::<Receipt>(&response.body).ok()
            }
            Ok(_) | Err(_) => None,
        };
        published.pushes += 1;
        let Some(receipt) = receipt else {
            published.refused += 1;
            continue;
        };
        published
            .latencies
            .push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
        published.degraded += usize::from(receipt.degraded);
        published.written +=
            usize::try_from(receipt.written + receipt.queued).unwrap_or(usize::MAX);
        published.failed += usize::try_from(receipt.failed).unwrap_or(usize::MAX);
    }
}
