//! Which request is for what.

use http::Method;

use super::error::ApiError;
use super::topic_route::TopicRoute;

/// What is at a path. Users and connections are as they stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    Nothing,
    UserPush {
        user: &'a str,
    },
    Push,
    /// Pushes, one a line.
    Pushes,
    Broadcast,
    Connections {
        user: &'a str,
    },
    Connection {
        user: &'a str,
        connection: &'a str,
    },
    Log {
        user: &'a str,
    },
    /// As a `GET` of `Log`, of a user whom the body names.
    LogOfNamed,
    /// As a `DELETE` of `Log`, of a user whom the body names.
    LogEndNamed,
    /// As `Connections`, of a user whom the body names.
    ConnectionsOfNamed,
    /// As a `DELETE` of `Connections` or of one of them, of a user whom the body names.
    KickNamed,
    /// What is about topics.
    Topics(TopicRoute<'a>),
    /// Users with a connection.
    Users,
    /// The connections of users whom the body names.
    ConnectionsOfUsers,
    Instances,
    Metrics,
    Live,
    Ready,
    Page,
    PageScript,
    PageStyle,
    PageFacts,
}

/// The segments of the longest path, and one more to notice a longer one.
const SEGMENTS: usize = 8;

impl<'a> Route<'a> {
    /// Whether it tells how the server does.
    pub(crate) const fn is_of_operation(&self) -> bool {
        match self {
            Self::Metrics | Self::Live | Self::Ready => true,
            Self::Nothing
            | Self::UserPush { .. }
            | Self::Push
            | Self::Pushes
            | Self::Broadcast
            | Self::Connections { .. }
            | Self::Connection { .. }
            | Self::Log { .. }
            | Self::LogOfNamed
            | Self::LogEndNamed
            | Self::Topics(_)
            | Self::Users
            | Self::ConnectionsOfUsers
            | Self::Instances
            | Self::Page
            | Self::PageScript
            | Self::PageStyle
            | Self::ConnectionsOfNamed
            | Self::KickNamed
            | Self::PageFacts => false,
        }
    }

    /// What is at this path.
    pub(crate) fn at(path: &'a str) -> Self {
        let Some(path) = path.strip_prefix('/') else {
            return Self::Nothing;
        };
        let mut segments = [""; SEGMENTS];
        let mut count = 0;
        for segment in path.split('/') {
            if count == SEGMENTS {
                return Self::Nothing;
            }
            segments[count] = segment;
            count += 1;
        }
        match segments[..count] {
            ["v1", "users", user, "push"] => Self::UserPush { user },
            ["v1", "push"] => Self::Push,
            ["v1", "pushes"] => Self::Pushes,
            ["v1", "broadcast"] => Self::Broadcast,
            ["v1", "users", user, "connections"] => Self::Connections { user },
            ["v1", "users", user, "connections", connection] => {
                Self::Connection { user, connection }
            }
            ["v1", "users", user, "log"] => Self::Log { user },
            ["v1", "log"] => Self::LogOfNamed,
            ["v1", "delete-log"] => Self::LogEndNamed,
            ["v1", "connections"] => Self::ConnectionsOfNamed,
            ["v1", "kick"] => Self::KickNamed,
            ["v1", "instances"] => Self::Instances,
            ["metrics"] => Self::Metrics,
            ["health", "live"] => Self::Live,
            ["health", "ready"] => Self::Ready,
            [""] => Self::Page,
            ["status.js"] => Self::PageScript,
            ["status.css"] => Self::PageStyle,
            ["status.json"] => Self::PageFacts,
            ["v1", "users"] => Self::Users,
            ["v1", "users", "connections"] => Self::ConnectionsOfUsers,
            ["v1", ref rest @ ..] => TopicRoute::at(rest).map_or(Self::Nothing, Self::Topics),
            _ => Self::Nothing,
        }
    }

    /// Its name in metrics and logs, without anything that a caller chose.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::UserPush { .. } => "/v1/users/{user}/push",
            Self::Push => "/v1/push",
            Self::Pushes => "/v1/pushes",
            Self::Broadcast => "/v1/broadcast",
            Self::Connections { .. } => "/v1/users/{user}/connections",
            Self::Connection { .. } => "/v1/users/{user}/connections/{connection}",
            Self::Log { .. } => "/v1/users/{user}/log",
            Self::LogOfNamed => "/v1/log",
            Self::LogEndNamed => "/v1/delete-log",
            Self::ConnectionsOfNamed => "/v1/connections",
            Self::KickNamed => "/v1/kick",
            Self::Topics(route) => route.label(),
            Self::Users => "/v1/users",
            Self::ConnectionsOfUsers => "/v1/users/connections",
            Self::Instances => "/v1/instances",
            Self::Metrics => "/metrics",
            Self::Live => "/health/live",
            Self::Ready => "/health/ready",
            Self::Page => "/",
            Self::PageScript => "/status.js",
            Self::PageStyle => "/status.css",
            Self::PageFacts => "/status.json",
        }
    }

    /// Whether a request may have this method here. Where there is nothing, it may have any.
    ///
    /// # Errors
    ///
    /// If what is here does not know the method.
    pub(crate) fn takes(self, method: &Method) -> Result<(), ApiError> {
        let allow = match self {
            Self::Nothing => return Ok(()),
            Self::UserPush { .. }
            | Self::Push
            | Self::Pushes
            | Self::Broadcast
            | Self::LogOfNamed
            | Self::LogEndNamed
            | Self::ConnectionsOfNamed
            | Self::ConnectionsOfUsers
            | Self::KickNamed => "POST",
            Self::Topics(route) => route.allow(),
            Self::Connections { .. } | Self::Log { .. } => "GET, HEAD, DELETE",
            Self::Connection { .. } => "DELETE",
            Self::Instances
            | Self::Users
            | Self::Metrics
            | Self::Live
            | Self::Ready
            | Self::Page
            | Self::PageScript
            | Self::PageStyle
            | Self::PageFacts => "GET, HEAD",
        };
        match allow.split(", ").any(|known| known == method.as_str()) {
            true => Ok(()),
            false => Err(ApiError::MethodNotAllowed { allow }),
        }
    }
}

/// Whether a path belongs to the part that needs a key, whether or not something is there.
pub(crate) fn needs_key(path: &str) -> bool {
    path == "/v1" || path.starts_with("/v1/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_find_what_is_at_their_path() {
        let user = "ann%2Fx";
        let cases = [
            ("POST", "/v1/users/ann%2Fx/push", Route::UserPush { user }),
            ("POST", "/v1/push", Route::Push),
            ("POST", "/v1/pushes", Route::Pushes),
            ("POST", "/v1/broadcast", Route::Broadcast),
            (
                "GET",
                "/v1/users/ann%2Fx/connections",
                Route::Connections { user },
            ),
            (
                "DELETE",
                "/v1/users/ann%2Fx/connections",
                Route::Connections { user },
            ),
            (
                "DELETE",
                "/v1/users/ann%2Fx/connections/7",
                Route::Connection {
                    user,
                    connection: "7",
                },
            ),
            ("GET", "/v1/users/ann%2Fx/log", Route::Log { user }),
            ("DELETE", "/v1/users/ann%2Fx/log", Route::Log { user }),
            ("POST", "/v1/log", Route::LogOfNamed),
            ("POST", "/v1/delete-log", Route::LogEndNamed),
            ("POST", "/v1/connections", Route::ConnectionsOfNamed),
            ("POST", "/v1/kick", Route::KickNamed),
            ("GET", "/v1/users", Route::Users),
            ("POST", "/v1/users/connections", Route::ConnectionsOfUsers),
            ("GET", "/v1/instances", Route::Instances),
            ("HEAD", "/health/live", Route::Live),
            ("GET", "/health/ready", Route::Ready),
            ("GET", "/metrics", Route::Metrics),
            ("GET", "/", Route::Page),
            ("POST", "/v1/users//push", Route::UserPush { user: "" }),
        ];
        for (method, path, route) in cases {
            assert_eq!(find(method, path), Ok(route), "{method} {path}");
        }
    }

    #[test]
    fn unknown_paths_and_methods_are_told_apart() {
        for path in [
            "/v1",
            "/v1/",
            "/v2/push",
            "/v1/users/ann",
            "/v1/push/",
            "//",
            "",
            "/v1/users/a/connections/b/c",
            "/v1/users/a/connections/b/c/d/e/f",
            "/connect",
        ] {
            assert_eq!(find("GET", path), Ok(Route::Nothing), "{path}");
        }
        for (method, path, allow) in [
            ("GET", "/v1/users/a/push", "POST"),
            ("PUT", "/v1/push", "POST"),
            ("GET", "/v1/connections", "POST"),
            ("DELETE", "/v1/kick", "POST"),
            ("POST", "/v1/users/a/connections", "GET, HEAD, DELETE"),
            ("POST", "/v1/users/a/log", "GET, HEAD, DELETE"),
            ("DELETE", "/v1/log", "POST"),
            ("POST", "/v1/users", "GET, HEAD"),
            ("GET", "/v1/users/connections", "POST"),
            ("GET", "/v1/users/a/connections/b", "DELETE"),
            ("POST", "/metrics", "GET, HEAD"),
            ("OPTIONS", "/", "GET, HEAD"),
        ] {
            assert_eq!(
                find(method, path),
                Err(ApiError::MethodNotAllowed { allow }),
                "{method} {path}"
            );
        }
    }

    /// H02, H03: no path of `/v1` escapes the key by being unknown.
    #[test]
    fn all_of_v1_needs_a_key() {
        for path in ["/v1", "/v1/", "/v1/push", "/v1/anything/else"] {
            assert!(needs_key(path), "{path}");
        }
        for path in ["/", "/metrics", "/health/live", "/v10", "/status.js"] {
            assert!(!needs_key(path), "{path}");
        }
    }

    fn find<'a>(method: &str, path: &'a str) -> Result<Route<'a>, ApiError> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let route = Route::at(path);
        route.takes(&method).map(|()| route)
    }
}
