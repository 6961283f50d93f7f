//! The local table: which connections live here, by slot, by name, by key and by age.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::ops::Bound;

use crate::base::few::Few;
use crate::base::fingerprint::Fingerprint;
use crate::base::rng::{SeededHash, SeededMap};
use crate::base::slots::Slots;
use crate::id::{ConnectionId, ConnectionKey, UserId};
use crate::key::Key;
use crate::stats::Tables;
use crate::terminals::connection::Connection;
use crate::time::Instant;
use crate::vocabulary::terminal::Age;

/// All connections from `accept` to `Forget`. A connection is *present* until its end begins: only
/// then is it found by name, by key and by age.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    connections: Slots<ConnectionKey, Connection>,
    by_id: SeededMap<ConnectionId, ConnectionKey>,
    /// Most users have few terminals here.
    by_key: SeededMap<Key, Few<ConnectionKey, 2>>,
    by_age: BTreeMap<Age, ConnectionKey>,
    /// Users with a terminal that is greeted: lists of them are in the order of their names, a page at a time.
    online: BTreeSet<UserId>,
    /// Those that have no key. Nobody who walks over all connections meets them.
    unnamed: BTreeMap<Age, ConnectionKey>,
    next_age: Age,
    /// Connections that have no key.
    strangers: usize,
}

impl Registry {
    pub(crate) fn new(hash: &SeededHash) -> Self {
        Self {
            connections: Slots::new(),
            by_id: SeededMap::with_hasher(hash.clone()),
            by_key: SeededMap::with_hasher(hash.clone()),
            by_age: BTreeMap::new(),
            online: BTreeSet::new(),
            unnamed: BTreeMap::new(),
            next_age: Age::OLDEST,
            strangers: 0,
        }
    }

    /// Adds a connection, as the youngest.
    pub(crate) fn insert(&mut self, mut connection: Connection) -> ConnectionKey {
        let age = self.youngest();
        connection.age = age;
        let (id, key) = (connection.id, connection.key.clone());
        let connection = self.connections.insert(connection);
        self.by_id.insert(id, connection);
        match key {
            Some(key) => {
                self.by_age.insert(age, connection);
                self.by_key.entry(key).or_default().push(connection);
            }
            None => {
                self.unnamed.insert(age, connection);
                self.strangers += 1;
            }
        }
        connection
    }

    /// It is known what a present connection is found by. To others it comes at this moment, as the youngest.
    pub(crate) fn name(&mut self, connection: ConnectionKey, key: Key) {
        let age = self.youngest();
        let Some(named) = self.connections.get_mut(connection) else {
            return;
        };
        if self.unnamed.remove(&named.age).is_none() {
            return;
        }
        self.by_age.insert(age, connection);
        named.age = age;
        if named.key.replace(key.clone()).is_none() {
            self.strangers -= 1;
        }
        self.by_key.entry(key).or_default().push(connection);
    }

    fn youngest(&mut self) -> Age {
        let age = self.next_age;
        self.next_age = age.younger();
        age
    }

    /// Ends the presence of a connection: it is found by its slot alone.
    pub(crate) fn retire(&mut self, connection: ConnectionKey) {
        let Some(retired) = self.connections.get(connection) else {
            return;
        };
        let age = &retired.age;
        if (self.by_age.remove(age).or_else(|| self.unnamed.remove(age))).is_none() {
            return;
        }
        self.by_id.remove(&retired.id);
        let Some(key) = &retired.key else { return };
        let Some(present) = self.by_key.get_mut(key) else {
            return;
        };
        // They came in the order of their age.
        let age = |connection: &ConnectionKey| Some(self.connections.get(*connection)?.age);
        if let Ok(place) = present.binary_search_by_key(&Some(retired.age), age) {
            present.remove(place);
        }
        let is_live = |other: &ConnectionKey| {
            let other = self.connections.get(*other);
            other.is_some_and(Connection::is_live)
        };
        if !present.iter().any(is_live) {
            self.online.remove(key.user());
        }
        if present.is_empty() {
            self.by_key.remove(key);
        }
    }

    /// A present connection of this user is greeted.
    pub(crate) fn greeted(&mut self, user: &UserId) {
        if !self.online.contains(user) {
            self.online.insert(user.clone());
        }
    }

    /// Users with a greeted terminal, in the order of their names: those behind this one.
    pub(crate) fn online(&self, after: Option<&UserId>) -> impl Iterator<Item = &UserId> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.online.range((after, Bound::Unbounded))
    }

    /// How many they are in all.
    pub(crate) fn users_online(&self) -> usize {
        self.online.len()
    }

    pub(crate) fn remove(&mut self, connection: ConnectionKey) -> Option<Connection> {
        self.retire(connection);
        let removed = self.connections.remove(connection)?;
        if removed.key.is_none() {
            self.strangers -= 1;
        }
        Some(removed)
    }

    pub(crate) fn get(&self, connection: ConnectionKey) -> Option<&Connection> {
        self.connections.get(connection)
    }

    pub(crate) fn get_mut(&mut self, connection: ConnectionKey) -> Option<&mut Connection> {
        self.connections.get_mut(connection)
    }

    /// A present connection by its name.
    pub(crate) fn find(&self, id: ConnectionId) -> Option<ConnectionKey> {
        self.by_id.get(&id).copied()
    }

    /// The present connections that are found by a key, oldest first.
    pub(crate) fn of(&self, key: &Key) -> &[ConnectionKey] {
        self.by_key.get(key).map_or(&[], Few::as_slice)
    }

    /// The youngest present connection with a key that is older than `age`.
    pub(crate) fn next_older(&self, age: Age) -> Option<(Age, ConnectionKey)> {
        let (age, connection) = self.by_age.range(..age).next_back()?;
        Some((*age, *connection))
    }

    /// The oldest present connection with a key that is at least as young as `age`.
    pub(crate) fn next_younger(&self, age: Age) -> Option<(Age, ConnectionKey)> {
        let (age, connection) = self.by_age.range(age..).next()?;
        Some((*age, *connection))
    }

    /// The present connection that came first, whether or not it has a key.
    pub(crate) fn oldest(&self) -> Option<ConnectionKey> {
        let first =
            |by_age: &BTreeMap<_, _>| by_age.first_key_value().map(|(age, key)| (*age, *key));
        let all = [first(&self.by_age), first(&self.unnamed)].into_iter();
        Some(all.flatten().min_by_key(|(age, _)| *age)?.1)
    }

    /// All connections, in the order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnectionKey, &Connection)> {
        self.connections.iter()
    }

    /// Connections, those included whose end has begun.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Connections that are present.
    pub(crate) fn present(&self) -> usize {
        self.by_age.len() + self.unnamed.len()
    }

    /// Connections that have not said who they are, those included whose end has begun.
    pub(crate) const fn strangers(&self) -> usize {
        self.strangers
    }

    /// Keys with present connections; each is a user.
    pub(crate) fn users(&self) -> usize {
        self.by_key.len()
    }

    /// Counts what is in each table.
    pub(crate) fn count(&self, tables: &mut Tables) {
        tables.connections = self.connections.len();
        tables.connections_by_id = self.by_id.len();
        tables.connections_by_key = self.by_key.len();
        tables.connections_by_age = self.present();
        tables.users_online = self.online.len();
    }

    /// `row` hashes what is known of the row of a connection, which somebody else knows.
    pub(crate) fn fingerprint<H: Hasher>(
        &self,
        now: Instant,
        hasher: &mut H,
        row: impl Fn(ConnectionKey, &mut H),
    ) {
        // The other tables follow from this one.
        (self.connections).fingerprint_by(now, hasher, |key, connection, hasher| {
            connection.fingerprint(now, hasher, |hasher| row(key, hasher));
        });
        self.next_age.fingerprint(now, hasher);
    }
}
