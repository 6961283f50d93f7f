//! One request, from its head to its answer: who may ask, what is asked, and what is said to a mistake.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{Either, Full};
use switchboard_core::id::UserId;
use switchboard_core::message::{Action, Audience};
use switchboard_driver::Scope;
use switchboard_driver::log::{Cause, damped};

use super::batch::{self, Batch};
use super::body::{self, LONGEST, Timed};
use super::error::ApiError;
use super::form::{self, PushForm};
use super::page;
use super::receipt::ByInstance;
use super::reply::{InstanceList, json, terminals, text};
use super::request::{self, Known, Options};
use super::route::Route;
use super::{Call, SNAPSHOTS, in_time, topics};
use crate::metrics::{self, Format};

/// Answers a request, whatever it asks for, and counts it.
pub(super) fn serve<B, F, T>(
    call: Call<'_>,
    request: Request<B>,
    scope: Scope,
    sleep: F,
) -> impl Future<Output = Response<Either<Full<Bytes>, Batch<B, F, T>>>>
where
    B: Body<Data = Bytes>,
    F: Fn(Duration) -> T,
    T: Future<Output = ()>,
{
    // A future holds what it is made with to its end: here it is made with the parts alone.
    let (parts, body) = request.into_parts();
    async move {
        let route = Route::at(parts.uri.path());
        let admitted = admit(call, &parts, route, scope);
        let response = if route == Route::Pushes {
            match admitted.and_then(|()| batch::options(call, &parts)) {
                Ok(options) => batch::answer(call, options, body, sleep).map(Either::Right),
                Err(error) => refused(&parts, route, &body, &error).map(Either::Left),
            }
        } else {
            let mut body = pin!(body);
            let timed = Timed {
                body: body.as_mut(),
                // Most bodies are there with their head: a timer is made for one that is waited for.
                timer: async { sleep(LONGEST).await },
            };
            let answer = match admitted {
                // Boxed: in one piece they are larger than what an allocator has at hand.
                Ok(()) => Box::pin(answer(call, &parts, route, timed, &sleep)).await,
                Err(error) => Err(error),
            };
            let response = answer.unwrap_or_else(|error| refused(&parts, route, &*body, &error));
            response.map(Either::Left)
        };
        call.metrics
            .request(&parts.method, route.label(), response.status());
        response
    }
}

fn refused<B: Body>(
    parts: &Parts,
    route: Route<'_>,
    body: &B,
    error: &ApiError,
) -> Response<Full<Bytes>> {
    tell_of_refusal(&parts.method, route, error);
    let mut response = error.response();
    // The rest of its body makes the connection useless: a client must not send the next request
    // over it.
    if !body.is_end_stream() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

/// A caller without the right to ask, or a server without the means to answer, is something that an
/// operator wants to know; any other mistake is the caller's own.
fn tell_of_refusal(method: &Method, route: Route<'_>, error: &ApiError) {
    let (status, code) = error.status();
    let (method, route) = (metrics::known_method(method), route.label());
    let text = "a request to the API is refused";
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::SERVICE_UNAVAILABLE => {
            damped!(
                INFO,
                Cause::one("requests to the API refused", code),
                method,
                route,
                status = status.as_u16(),
                code,
                "{text}"
            )
        }
        _ => tracing::debug!(method, route, status = status.as_u16(), code, "{text}"),
    }
}

/// Whether whoever sends a request may ask for this.
fn admit(call: Call<'_>, parts: &Parts, route: Route<'_>, scope: Scope) -> Result<(), ApiError> {
    if scope == Scope::Operation && !route.is_of_operation() {
        return Err(ApiError::Crowded);
    }
    let access = call.api.access.load();
    access.check(parts)?;
    route.takes(&parts.method)
}

pub(super) async fn answer<B, L, T>(
    call: Call<'_>,
    parts: &Parts,
    route: Route<'_>,
    body: Timed<B, L>,
    sleep: &impl Fn(Duration) -> T,
) -> Result<Response<Full<Bytes>>, ApiError>
where
    B: Body<Data = Bytes>,
    L: Future<Output = ()>,
    T: Future<Output = ()>,
{
    Ok(match route {
        // Pushes have an answer of another kind.
        Route::Nothing | Route::Pushes => return Err(ApiError::NotFound),
        Route::UserPush { user } => {
            push_to_user(call, parts, request::user(user)?, body, sleep).await?
        }
        Route::Push => push_to_named(call, parts, body, sleep).await?,
        Route::Broadcast => {
            let options = Options::read(parts, Known::Deadline, call.config)?;
            let payload = request::payload(parts, body, call.config.push_bytes).await?;
            let receipt = call
                .push(Audience::Everyone, Action::Frame(payload), options, sleep)
                .await?;
            json(StatusCode::OK, &ByInstance(&receipt))
        }
        Route::Connections { user } if parts.method == Method::DELETE => {
            let to = Audience::User(request::user(user)?);
            call.kick(to, parts, sleep).await?
        }
        Route::Connection { user, connection } => {
            let to = Audience::Connections {
                user: request::user(user)?,
                connections: vec![request::connection(connection)?],
            };
            call.kick(to, parts, sleep).await?
        }
        Route::KickNamed => {
            let body = body::read(&parts.headers, body, form::largest_of_user(call.config)).await?;
            call.kick(form::kicked(&body, call.config)?, parts, sleep)
                .await?
        }
        Route::Connections { user } => call.list(request::user(user)?, parts, sleep).await?,
        Route::Log { user } => call.log(request::user(user)?.into(), parts, sleep).await?,
        Route::LogOfNamed => {
            let body = body::read(&parts.headers, body, form::largest_of_user(call.config)).await?;
            call.read_log(form::channel(&body)?, parts, sleep).await?
        }
        Route::LogEndNamed => {
            let body = body::read(&parts.headers, body, form::largest_of_user(call.config)).await?;
            call.delete_log(form::channel(&body)?, parts, sleep).await?
        }
        Route::ConnectionsOfNamed => {
            let body = body::read(&parts.headers, body, form::largest_of_user(call.config)).await?;
            call.list(form::user(&body)?, parts, sleep).await?
        }
        // Boxed: it is larger than all others, for which there would be as much room.
        Route::Topics(route) => Box::pin(topics::serve(call, parts, route, body, sleep)).await?,
        Route::Users => call.users(parts, sleep).await?,
        Route::ConnectionsOfUsers => {
            request::no_parameters(parts)?;
            let limit = form::largest_of_users(call.config);
            let body = body::read(&parts.headers, body, limit).await?;
            let users = form::users(&body, call.config)?;
            call.connections_of(users, sleep).await?
        }
        Route::Instances => {
            request::no_parameters(parts)?;
            let late = sleep(call.question());
            let instances = in_time(call.server.instances(), late).await?;
            json(StatusCode::OK, &InstanceList(&instances))
        }
        Route::Metrics => {
            let format = Format::asked_for(&parts.headers);
            let figures = call.server.figures_until(sleep(SNAPSHOTS)).await;
            let dropped = call.server.connections_dropped();
            let figures = call.metrics.text(figures, dropped, format);
            text(format.content_type(), figures)
        }
        Route::Live => json(StatusCode::OK, &page::LIVE),
        Route::Ready => call.readiness(sleep(SNAPSHOTS)).await,
        Route::Page => call.api.page.html(parts, call.server.terminals_addr()),
        Route::PageScript => page::script(),
        Route::PageStyle => page::style(),
        Route::PageFacts => json(StatusCode::OK, &call.facts(parts)),
    })
}

async fn push_to_user<B, L, T>(
    call: Call<'_>,
    parts: &Parts,
    user: UserId,
    body: Timed<B, L>,
    sleep: &impl Fn(Duration) -> T,
) -> Result<Response<Full<Bytes>>, ApiError>
where
    B: Body<Data = Bytes>,
    L: Future<Output = ()>,
    T: Future<Output = ()>,
{
    let mut options = Options::read(parts, Known::PushToUser, call.config)?;
    let payload = request::payload(parts, body, call.config.push_bytes).await?;
    let connections = std::mem::take(&mut options.connections);
    let to = match connections.is_empty() {
        true => Audience::User(user),
        false => Audience::Connections { user, connections },
    };
    let push = Action::Frame(payload);
    Ok(terminals(&call.push(to, push, options, sleep).await?))
}

async fn push_to_named<B, L, T>(
    call: Call<'_>,
    parts: &Parts,
    body: Timed<B, L>,
    sleep: &impl Fn(Duration) -> T,
) -> Result<Response<Full<Bytes>>, ApiError>
where
    B: Body<Data = Bytes>,
    L: Future<Output = ()>,
    T: Future<Output = ()>,
{
    let options = Options::read(parts, Known::PushToUsers, call.config)?;
    let limit = PushForm::largest(call.config);
    let body = body::read(&parts.headers, body, limit).await?;
    let PushForm { to, payload, .. } = PushForm::read(&body, call.config)?;
    let is_for_topics = matches!(to, Audience::Topics { .. });
    let push = Action::Frame(payload);
    let receipt = call.push(to, push, options, sleep).await?;
    Ok(match is_for_topics {
        true => json(StatusCode::OK, &ByInstance(&receipt)),
        false => terminals(&receipt),
    })
}
