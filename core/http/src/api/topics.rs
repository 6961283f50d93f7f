//! Topics: pushes to them, who joins and leaves, and who is a member.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use switchboard_core::id::TopicId;
use switchboard_core::message::{Action, Audience, Durable, ListOrder};

use super::body::{self, Timed};
use super::error::ApiError;
use super::form::{self, Membership};
use super::listed::{self, Asked};
use super::receipt::{ByInstance, ByTerminal};
use super::reply::json;
use super::request::{self, Known, Options};
use super::topic_route::TopicRoute;
use super::{Call, in_time};

/// Answers a request about topics.
pub(super) async fn serve<B, L, T>(
    call: Call<'_>,
    parts: &Parts,
    route: TopicRoute<'_>,
    body: Timed<B, L>,
    sleep: &impl Fn(Duration) -> T,
) -> Result<Response<Full<Bytes>>, ApiError>
where
    B: Body<Data = Bytes>,
    L: Future<Output = ()>,
    T: Future<Output = ()>,
{
    match route {
        TopicRoute::Topic { topic } => call.topic(request::topic(topic)?, parts, sleep).await,
        TopicRoute::Push { topic } => {
            let topic = request::topic(topic)?;
            let options = Options::read(parts, Known::PushToTopic, call.config)?;
            let payload = request::payload(parts, body, call.config.push_bytes).await?;
            let to = Audience::Topics {
                topics: vec![topic],
                except: options.except,
            };
            let receipt = call
                .push(to, Action::Frame(payload), options, sleep)
                .await?;
            Ok(json(StatusCode::OK, &ByInstance(&receipt)))
        }
        TopicRoute::Members { topic } => call.members(request::topic(topic)?, parts, sleep).await,
        TopicRoute::Log { topic } => call.log(request::topic(topic)?.into(), parts, sleep).await,
        TopicRoute::MembersNamed => {
            let limit = form::largest_of_user(call.config);
            let body = body::read(&parts.headers, body, limit).await?;
            call.members(form::topic(&body)?, parts, sleep).await
        }
        TopicRoute::User { topic, user } => {
            let topic = request::topic(topic)?;
            let of = Audience::User(request::user(user)?);
            change_at(call, parts, Membership { topic, of }, sleep).await
        }
        TopicRoute::Connection {
            topic,
            user,
            connection,
        } => {
            let topic = request::topic(topic)?;
            let of = Audience::Connections {
                user: request::user(user)?,
                connections: vec![request::connection(connection)?],
            };
            change_at(call, parts, Membership { topic, of }, sleep).await
        }
        TopicRoute::JoinNamed => change_named(call, parts, Action::Join, body, sleep).await,
        TopicRoute::LeaveNamed => change_named(call, parts, Action::Leave, body, sleep).await,
    }
}

/// A `PUT` makes members, and a `DELETE` ends memberships.
async fn change_at<T: Future<Output = ()>>(
    call: Call<'_>,
    parts: &Parts,
    membership: Membership,
    sleep: &impl Fn(Duration) -> T,
) -> Result<Response<Full<Bytes>>, ApiError> {
    let options = Options::read(parts, Known::Deadline, call.config)?;
    let action = match parts.method == Method::DELETE {
        true => Action::Leave,
        false => Action::Join,
    };
    call.change(membership, action, options, sleep).await
}

async fn change_named<B, L, T>(
    call: Call<'_>,
    parts: &Parts,
    action: fn(TopicId) -> Action,
    body: Timed<B, L>,
    sleep: &impl Fn(Duration) -> T,
) -> Result<Response<Full<Bytes>>, ApiError>
where
    B: Body<Data = Bytes>,
    L: Future<Output = ()>,
    T: Future<Output = ()>,
{
    let options = Options::read(parts, Known::Deadline, call.config)?;
    let limit = form::largest_of_user(call.config);
    let body = body::read(&parts.headers, body, limit).await?;
    let membership = form::membership(&body, call.config)?;
    call.change(membership, action, options, sleep).await
}

impl Call<'_> {
    /// Has terminals of a user join or leave a topic; those to come as well, if it is about all of the user's.
    async fn change<T: Future<Output = ()>>(
        self,
        Membership { topic, of }: Membership,
        action: fn(TopicId) -> Action,
        options: Options,
        sleep: impl Fn(Duration) -> T,
    ) -> Result<Response<Full<Bytes>>, ApiError> {
        let options = Options {
            durable: matches!(of, Audience::User(_)).then(Durable::default),
            ..options
        };
        let receipt = self.push(of, action(topic), options, sleep).await?;
        Ok(json(StatusCode::OK, &ByTerminal(&receipt)))
    }

    /// How many members a topic has, by instance, and where its log stands.
    async fn topic<T: Future<Output = ()>>(
        self,
        topic: TopicId,
        parts: &Parts,
        sleep: impl Fn(Duration) -> T,
    ) -> Result<Response<Full<Bytes>>, ApiError> {
        let options = Options::read(parts, Known::Deadline, self.config)?;
        let asked = Asked {
            order: ListOrder::Connections { after: None },
            limit: 1,
            deadline: options.deadline,
        };
        let head = async {
            let head = self.server.log_head(topic.clone());
            in_time(head, sleep(options.deadline)).await.ok()
        };
        let listed = self.listed(one(topic.clone()), asked, &sleep);
        let (receipt, head) = join(listed, head).await;
        let receipt = &receipt?;
        Ok(json(StatusCode::OK, &listed::TopicState { receipt, head }))
    }

    /// The members of a topic, in pages.
    async fn members<T: Future<Output = ()>>(
        self,
        topic: TopicId,
        parts: &Parts,
        sleep: impl Fn(Duration) -> T,
    ) -> Result<Response<Full<Bytes>>, ApiError> {
        let asked = Asked::members(parts)?;
        let limit = asked.limit;
        let receipt = self.listed(one(topic), asked, sleep).await?;
        let receipt = &receipt;
        Ok(json(StatusCode::OK, &listed::Members { receipt, limit }))
    }
}

fn one(topic: TopicId) -> Audience {
    Audience::Topics {
        topics: vec![topic],
        except: None,
    }
}
