//! Which request is for what of topics.

/// What is at a path behind `/v1`. Topics and users are as they stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TopicRoute<'a> {
    /// Which instances have members, and where its log stands.
    Topic {
        topic: &'a str,
    },
    Push {
        topic: &'a str,
    },
    Members {
        topic: &'a str,
    },
    /// What was pushed to it durably.
    Log {
        topic: &'a str,
    },
    /// A user whose terminals join or leave.
    User {
        topic: &'a str,
        user: &'a str,
    },
    /// One connection of a user, which joins or leaves.
    Connection {
        topic: &'a str,
        user: &'a str,
        connection: &'a str,
    },
    /// As `Members`, of a topic that the body names.
    MembersNamed,
    /// As a `PUT` of `User`, whom the body names.
    JoinNamed,
    /// As a `DELETE` of `User`, whom the body names.
    LeaveNamed,
}

impl<'a> TopicRoute<'a> {
    /// What is at this path, if it is about topics.
    pub(crate) fn at(segments: &[&'a str]) -> Option<Self> {
        match *segments {
            ["topics", topic] => Some(Self::Topic { topic }),
            ["topics", topic, "push"] => Some(Self::Push { topic }),
            ["topics", topic, "members"] => Some(Self::Members { topic }),
            ["topics", topic, "log"] => Some(Self::Log { topic }),
            ["topics", topic, "users", user] => Some(Self::User { topic, user }),
            ["topics", topic, "users", user, "connections", connection] => Some(Self::Connection {
                topic,
                user,
                connection,
            }),
            ["members"] => Some(Self::MembersNamed),
            ["join"] => Some(Self::JoinNamed),
            ["leave"] => Some(Self::LeaveNamed),
            _ => None,
        }
    }

    /// Its name in metrics and logs.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Topic { .. } => "/v1/topics/{topic}",
            Self::Push { .. } => "/v1/topics/{topic}/push",
            Self::Members { .. } => "/v1/topics/{topic}/members",
            Self::Log { .. } => "/v1/topics/{topic}/log",
            Self::User { .. } => "/v1/topics/{topic}/users/{user}",
            Self::Connection { .. } => "/v1/topics/{topic}/users/{user}/connections/{connection}",
            Self::MembersNamed => "/v1/members",
            Self::JoinNamed => "/v1/join",
            Self::LeaveNamed => "/v1/leave",
        }
    }

    /// The methods that it knows.
    pub(crate) const fn allow(self) -> &'static str {
        match self {
            Self::Topic { .. } | Self::Members { .. } => "GET, HEAD",
            Self::Log { .. } => "GET, HEAD, DELETE",
            Self::User { .. } | Self::Connection { .. } => "PUT, DELETE",
            Self::Push { .. } | Self::MembersNamed | Self::JoinNamed | Self::LeaveNamed => "POST",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_find_what_is_at_their_path() {
        let topic = "a%2Fb";
        let cases = [
            (
                &["topics", topic][..],
                TopicRoute::Topic { topic },
                "GET, HEAD",
            ),
            (
                &["topics", topic, "push"],
                TopicRoute::Push { topic },
                "POST",
            ),
            (
                &["topics", topic, "members"],
                TopicRoute::Members { topic },
                "GET, HEAD",
            ),
            (
                &["topics", topic, "log"],
                TopicRoute::Log { topic },
                "GET, HEAD, DELETE",
            ),
            (
                &["topics", topic, "users", "ann"],
                TopicRoute::User { topic, user: "ann" },
                "PUT, DELETE",
            ),
            (
                &["topics", topic, "users", "ann", "connections", "7"],
                TopicRoute::Connection {
                    topic,
                    user: "ann",
                    connection: "7",
                },
                "PUT, DELETE",
            ),
            (&["members"], TopicRoute::MembersNamed, "POST"),
            (&["join"], TopicRoute::JoinNamed, "POST"),
            (&["leave"], TopicRoute::LeaveNamed, "POST"),
        ];
        for (segments, route, allow) in cases {
            assert_eq!(TopicRoute::at(segments), Some(route));
            assert_eq!(route.allow(), allow, "{route:?}");
        }
        for segments in [
            &["topics"][..],
            &["topics", topic, "users"],
            &["topics", topic, "users", "ann", "x"],
            &["topics", topic, "users", "ann", "connections"],
            &["join", "x"],
            &[""],
        ] {
            assert_eq!(TopicRoute::at(segments), None, "{segments:?}");
        }
    }
}
