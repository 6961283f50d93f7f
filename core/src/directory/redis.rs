//! The directory on Redis: key layout, script texts, requests and replies.
