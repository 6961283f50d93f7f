//! What a receipt says.
