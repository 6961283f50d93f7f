//! Sockets of the three listeners, each with what serves it.

use std::rc::Rc;
use std::sync::Arc;

use super::{Ingress, apis, peers, terminals};
use crate::members::Arrival;
use crate::permits::Service;
use crate::runtime::Runtime;
use crate::task;

/// Serves one socket on the calling thread. The permit is given up when the connection ends or is
/// handed over.
pub(crate) fn serve<R: Runtime>(ingress: &Rc<Ingress>, arrival: Arrival) {
    let Arrival {
        service,
        socket,
        mut permit,
    } = arrival;
    // Frames are small, and somebody waits for them.
    let adopted = socket.set_nodelay(true).and_then(|()| R::adopt(socket));
    let Ok(stream) = adopted else {
        return ingress.dropped.count(service);
    };
    let ingress = Rc::clone(ingress);
    let name = match service {
        Service::Terminals => "terminal handshake",
        Service::Api => "API connection",
        Service::Peers => "peer handshake",
    };
    let place = permit.place.take();
    let permit = Arc::new(permit);
    task::spawn::<R>(name, async move {
        match service {
            Service::Terminals => terminals::serve::<R>(&ingress, stream, &permit, place).await,
            Service::Api => apis::serve::<R>(&ingress, stream, &permit).await,
            Service::Peers => peers::serve::<R>(&ingress, stream, &permit).await,
        }
    });
}
