//! What the application does with topics, and with lists: pushes of which somebody else has written the rest.

use switchboard_core::config::Config;
use switchboard_core::id::{ConnectionId, TopicId, UserId};
use switchboard_core::message::{Action, Audience, Durable, ListOrder, Push, PushedBy, Receipt};

use super::{CallError, Handle};

impl Handle {
    /// Makes terminals of a user members of a topic: all that are there, and those that connect later; or one
    /// that is there, and nothing later. [`Receipt::kept`] says whether it counts for those that connect later.
    ///
    /// ```
    /// use switchboard_driver::{Audience, CallError, Handle, Payload, Push, TopicId, UserId, new_push_id};
    ///
    /// # async fn example(handle: &Handle) -> Result<(), Box<dyn std::error::Error>> {
    /// let news = TopicId::new("news")?;
    /// let receipt = handle.join(UserId::new("ann")?, news.clone(), None).await?;
    /// assert_eq!(receipt.kept, Some(true));
    ///
    /// let to = Audience::Topics { topics: vec![news], except: None };
    /// let push = Push::new(new_push_id(), to, Payload::from("hello, members".to_owned()));
    /// println!("{} members", handle.push(push).await?.counts.written);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Handle::push`]; while the directory is away, where it is to count for terminals that connect later.
    pub async fn join(
        &self,
        user: UserId,
        topic: TopicId,
        connection: Option<ConnectionId>,
    ) -> Result<Receipt, CallError> {
        self.change(user, connection, Action::Join(topic)).await
    }

    /// Ends the membership of terminals of a user: of all that are there, and for those that connect later; or of
    /// one that is there.
    ///
    /// # Errors
    ///
    /// As [`Handle::join`].
    pub async fn leave(
        &self,
        user: UserId,
        topic: TopicId,
        connection: Option<ConnectionId>,
    ) -> Result<Receipt, CallError> {
        self.change(user, connection, Action::Leave(topic)).await
    }

    /// Lists members of a topic, in the order of their connections: `limit` of those behind `after`, 1 to
    /// [`Action::LIST_MAX`]. They are in [`Receipt::listed`], and who did not answer in [`Receipt::instances`].
    ///
    /// ```
    /// use switchboard_driver::{CallError, Handle, TopicId};
    ///
    /// # async fn example(handle: &Handle, news: TopicId) -> Result<(), CallError> {
    /// let mut after = None;
    /// loop {
    ///     let page = handle.members(news.clone(), after, 100).await?;
    ///     for member in &page.listed {
    ///         println!("{} at {:?}", member.user.as_str(), member.connection);
    ///     }
    ///     after = page.listed.last().and_then(|last| last.connection);
    ///     if page.listed.len() < 100 {
    ///         return Ok(());
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Handle::push`].
    pub async fn members(
        &self,
        topic: TopicId,
        after: Option<ConnectionId>,
        limit: u32,
    ) -> Result<Receipt, CallError> {
        let to = Audience::Topics {
            topics: vec![topic],
            except: None,
        };
        let order = ListOrder::Connections { after };
        self.list(to, Action::List { order, limit }).await
    }

    /// Lists users with a connection, in the order of their names, as [`Handle::members`] lists connections.
    ///
    /// # Errors
    ///
    /// As [`Handle::push`].
    pub async fn users(&self, after: Option<UserId>, limit: u32) -> Result<Receipt, CallError> {
        let order = ListOrder::Users { after };
        self.list(Audience::Everyone, Action::List { order, limit })
            .await
    }

    async fn change(
        &self,
        user: UserId,
        connection: Option<ConnectionId>,
        action: Action,
    ) -> Result<Receipt, CallError> {
        let (to, durable) = match connection {
            None => (Audience::User(user), Some(Durable::default())),
            Some(connection) => {
                let connections = vec![connection];
                (Audience::Connections { user, connections }, None)
            }
        };
        let push = Push {
            durable,
            ..with_default_deadline(to, action)
        };
        self.push(push).await
    }

    async fn list(&self, to: Audience, action: Action) -> Result<Receipt, CallError> {
        self.push(with_default_deadline(to, action)).await
    }
}

fn with_default_deadline(to: Audience, action: Action) -> Push {
    Push {
        id: crate::new_push_id(),
        to,
        action,
        deadline: Config::DEADLINE_DEFAULT,
        durable: None,
        by: PushedBy::Application,
    }
}
