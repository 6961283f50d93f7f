//! The threads of a server: one for each instance, and one that accepts.

use std::convert::Infallible;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{io, thread};

use async_channel::{Receiver, Sender};
use event_listener::Event as Signal;
use futures_channel::oneshot;
use switchboard_core::Instance;

use crate::api::ApiService;
use crate::error::Died;
use crate::inbox::Posted;
use crate::ingress::{self, Door, Ingress};
use crate::looping::{self, Surroundings};
use crate::members::{Arrivals, Member, Shared};
use crate::queue::Taker;
use crate::runtime::{Runtime, race};
use crate::tasks::directory::{self, Troubles};
use crate::{deadlines, log, task};

/// The threads of a server, and how they ended.
pub(crate) struct Threads {
    shared: Arc<Shared>,
    state: Mutex<ThreadsState>,
    pub(crate) changed: Signal,
    /// Closed when the server ends.
    end: (Sender<Infallible>, Receiver<Infallible>),
}

#[derive(Default)]
pub(crate) struct ThreadsState {
    pub(crate) running: usize,
    pub(crate) died: Option<Died>,
}

impl Threads {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            state: Mutex::default(),
            changed: Signal::new(),
            end: async_channel::bounded(1),
        }
    }

    /// Ends all instances as they are.
    pub(crate) fn stop(&self) {
        self.end.0.close();
        self.shared.arrivals.close();
        for member in &self.shared.members {
            member.inbox.close();
            member.arrivals.close();
        }
        if let Some(events) = &self.shared.events {
            events.end();
        }
    }

    /// The whole life of the thread that accepts. It serves nothing, so that whatever keeps an instance
    /// busy keeps nobody from those that are not.
    pub(crate) fn accept<R: Runtime>(
        &self,
        doors: Vec<Door>,
        started: oneshot::Sender<io::Result<()>>,
    ) {
        let shared = &self.shared;
        let mut started = Some(started);
        let (died, deaths) = async_channel::bounded(1);
        let mut end = None;
        let main = async {
            task::spawn::<R>("count of untold lines", async {
                loop {
                    R::sleep(log::CATCH_UP).await;
                    log::catch_up();
                }
            });
            directory::warn_of_eviction::<R>(&shared.settings.directory);
            let opened = accept_all::<R>(shared, doors, &died);
            if let Some(started) = started.take() {
                // If nobody waits any more, the server ends.
                let _ = started.send(opened);
            }
            let asked = async {
                // Nothing is ever sent: it is closed.
                let _ = self.end.1.recv().await;
                None
            };
            end = race(asked, async { Some(task::death(&deaths).await) }).await;
        };
        let ran = panic::catch_unwind(AssertUnwindSafe(|| R::run(main)));
        if let (Ok(Err(error)), Some(started)) = (&ran, started) {
            let _ = started.send(Err(io::Error::new(error.kind(), error.to_string())));
        }
        let cause = cause_of_end(end, ran);
        self.ended(cause.map(|cause| Died::Listeners { cause }));
    }

    /// The whole life of an instance's thread.
    pub(crate) fn serve<R: Runtime>(&self, seated: Seated) {
        let id = seated.me.id;
        let inbox = seated.inbox.clone();
        let mut started = Some(seated.started);
        let shared = Arc::clone(&seated.shared);
        let worker = Surroundings::new(shared, Arc::clone(&seated.me), seated.troubles);
        let arrivals = Arc::clone(&seated.shared.arrivals);
        let me = Arc::clone(&seated.me);
        let ingress = Rc::new(Ingress::new(&seated.shared, seated.me, seated.api));
        let (died, deaths) = async_channel::bounded(1);
        let mut end = None;
        let main = async {
            let name = "deadlines";
            R::spawn(task::vital(name, died.clone(), deadlines::keep::<R>()));
            serve_arrivals::<R>(&ingress, me, arrivals, &died);
            if let Some(started) = started.take() {
                // If nobody waits any more, the inbox is closed too.
                let _ = started.send(Ok(()));
            }
            let run = looping::run::<R>(seated.instance, worker, seated.inbox);
            let (ended, ran) = oneshot::channel();
            // A task among those that it gives way to: some runtimes go to the operating system each time
            // that their main future is woken.
            R::spawn(async move {
                // If nobody waits any more, the thread has ended for another reason.
                let _ = ended.send(task::caught(run).await.err());
            });
            let ran = async {
                ran.await
                    .unwrap_or_else(|_| Some("it was dropped".to_owned()))
            };
            end = race(ran, async { Some(task::death(&deaths).await) }).await;
        };
        let ran = panic::catch_unwind(AssertUnwindSafe(|| R::run(main)));
        if let (Ok(Err(error)), Some(started)) = (&ran, started) {
            let _ = started.send(Err(io::Error::new(error.kind(), error.to_string())));
        }
        let cause = cause_of_end(end, ran);
        // What still waits is dropped here: its callers are told that the server has stopped.
        inbox.end();
        let instance = id;
        self.ended(cause.map(|cause| Died::Instance { instance, cause }));
    }

    fn ended(&self, died: Option<Died>) {
        let mut state = self.lock();
        state.running -= 1;
        if state.running == 0 {
            log::tell_all();
        }
        if let Some(died) = died {
            tracing::error!("{died}: the server ends");
            state.died.get_or_insert(died);
            drop(state);
            self.stop();
        }
        self.changed.notify(usize::MAX);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, ThreadsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An instance on its way to its thread.
pub(crate) struct Seated {
    pub(crate) instance: Instance,
    pub(crate) inbox: Taker<Posted>,
    pub(crate) me: Arc<Member>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) api: Option<Arc<dyn ApiService>>,
    pub(crate) troubles: Arc<Troubles>,
    pub(crate) started: oneshot::Sender<io::Result<()>>,
}

/// Starts to accept at all listeners.
fn accept_all<R: Runtime>(
    shared: &Arc<Shared>,
    doors: Vec<Door>,
    died: &Sender<String>,
) -> io::Result<()> {
    for door in doors {
        let name = door.name();
        let accept = door.accept::<R>(shared)?;
        R::spawn(task::vital(name, died.clone(), accept));
    }
    Ok(())
}

/// Serves the sockets that come for this thread, and those that any thread may serve.
fn serve_arrivals<R: Runtime>(
    ingress: &Rc<Ingress>,
    me: Arc<Member>,
    any: Arc<Arrivals>,
    died: &Sender<String>,
) {
    let own = Rc::clone(ingress);
    let terminals = async move { serve_all::<R>(&own, &me.arrivals).await };
    let name = "terminals that arrive";
    R::spawn(task::vital(name, died.clone(), terminals));
    let ingress = Rc::clone(ingress);
    let others = async move { serve_all::<R>(&ingress, &any).await };
    let name = "callers and peers that arrive";
    R::spawn(task::vital(name, died.clone(), others));
}

async fn serve_all<R: Runtime>(ingress: &Rc<Ingress>, arrivals: &Arrivals) {
    while let Some(arrival) = arrivals.next().await {
        ingress::serve::<R>(ingress, arrival);
        task::give_way().await;
    }
}

/// Why a thread ended that should not have: what its tasks said, or else its runtime.
fn cause_of_end(died: Option<String>, ran: thread::Result<io::Result<()>>) -> Option<String> {
    died.or_else(|| match ran {
        Err(_) => Some("the runtime has panicked".to_owned()),
        Ok(Err(error)) => Some(error.to_string()),
        Ok(Ok(())) => None,
    })
}
