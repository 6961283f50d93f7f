//! Routing as a pure function: rows, view and selection in, routes out.
//!
//! A row is live if its instance's lease has not expired and the row's epoch is not below the
//! lease's floor. Nothing else decides: no clock of the writer, no expiry of the row.

use crate::base::few::Few;
use crate::base::selected::Selected;
use crate::directory::Row;
use crate::id::{ConnectionId, InstanceId};
use crate::vocabulary::standing::Standing;

/// Which connections of a key a push is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Selection {
    /// All connections of the key.
    All,
    /// Those of these that exist.
    Only(Vec<ConnectionId>),
}

impl Selection {
    /// Itself in a form that is quick to ask.
    pub(super) fn selected(&self) -> Selected<'_> {
        match self {
            Self::All => Selected::All,
            Self::Only(connections) => Selected::only(connections),
        }
    }
}

/// What is asked of one instance for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The id of the instance.
    pub(super) instance: InstanceId,
    /// The selected connections that live rows place there, in the order of their ids, with the
    /// rows as they were read.
    pub(super) named: Few<(ConnectionId, Row)>,
    /// The instance is doubtful: it is also asked for what no row names.
    pub(super) ask: bool,
}

/// What follows from the rows of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// One for each target instance, in the order of their ids.
    pub(super) routes: Few<Route>,
    /// Dead rows, selected or not, in the order of their connections. They are to be removed by
    /// comparison with the row that was read.
    pub(super) dead: Vec<(ConnectionId, Row)>,
}

/// Plans a push to one key.
///
/// `rows` names each connection at most once, in any order. `doubtful` names all doubtful
/// instances: each gets a route, whether or not a row names it. `standing` is asked for the instance
/// of each row, by a view that has been read for them: an instance that it does not know is dead.
pub(super) fn plan(
    rows: &[(ConnectionId, Row)],
    selection: &Selection,
    doubtful: &[InstanceId],
    standing: impl Fn(InstanceId) -> Standing,
) -> Plan {
    let selected = selection.selected();
    let mut plan = Plan::default();
    for &instance in doubtful {
        plan.route(instance).ask = true;
    }
    for &(connection, row) in rows {
        match standing(row.instance) {
            Standing::Live { floor, doubtful } => {
                if doubtful {
                    plan.route(row.instance).ask = true;
                }
                if row.epoch < floor {
                    plan.dead.push((connection, row));
                } else if selected.contains(connection) {
                    plan.route(row.instance).named.push((connection, row));
                }
            }
            Standing::Outdated | Standing::Unknown => plan.dead.push((connection, row)),
        }
    }
    for route in &mut plan.routes {
        route
            .named
            .sort_unstable_by_key(|&(connection, _)| connection);
    }
    plan.dead
        .sort_unstable_by_key(|&(connection, _)| connection);
    plan
}

impl Plan {
    /// The route to an instance, made if there is none.
    fn route(&mut self, instance: InstanceId) -> &mut Route {
        let at = self
            .routes
            .binary_search_by_key(&instance, |route| route.instance);
        let at = at.unwrap_or_else(|at| {
            let route = Route {
                instance,
                named: Few::new(),
                ask: false,
            };
            self.routes.insert(at, route);
            at
        });
        &mut self.routes[at]
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_types,
    reason = "the macro that chooses among strategies shares them"
)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::{btree_map, btree_set, vec};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::id::Epoch;
    use crate::time::WallTime;

    /// H43: one route for each instance, not one for each terminal, all known at once.
    #[test]
    fn connections_of_one_instance_share_a_route() {
        let rows = [row(1, 10, 1), row(2, 20, 1), row(3, 10, 1)];
        let plan = plan(&rows, &Selection::All, &[], |_| live(1));
        assert_eq!(
            *plan.routes,
            [
                route(10, vec![rows[0], rows[2]], false),
                route(20, vec![rows[1]], false),
            ]
        );
        assert_eq!(plan.dead, []);
    }

    /// H31, H33: whether a row is live is for the lease and the epochs to say, not for a clock.
    /// H32: a push removes the dead rows that it sees, also those of a live instance.
    #[test]
    fn rows_of_dead_instances_and_of_former_epochs_are_removed_whatever_the_selection() {
        let rows = [row(1, 10, 4), row(2, 10, 5), row(3, 20, 9)];
        let standing = |instance: InstanceId| match instance.get() {
            10 => live(5),
            _ => Standing::Unknown,
        };
        for selection in [Selection::All, Selection::Only(vec![connection(2)])] {
            let plan = plan(&rows, &selection, &[], standing);
            assert_eq!(*plan.routes, [route(10, vec![rows[1]], false)]);
            assert_eq!(plan.dead, [rows[0], rows[2]]);
        }
    }

    /// H19, H38: a connection whose row is not written yet is found by asking.
    #[test]
    fn a_doubtful_instance_is_asked_whether_or_not_a_row_names_it() {
        let rows = [row(1, 10, 1)];
        let doubtful = [InstanceId::new(5), InstanceId::new(10)];
        let plan = plan(&rows, &Selection::All, &doubtful, |_| Standing::Live {
            floor: Epoch::new(1),
            doubtful: true,
        });
        assert_eq!(
            *plan.routes,
            [route(5, vec![], true), route(10, vec![rows[0]], true)]
        );
    }

    #[test]
    fn no_rows_and_no_doubt_is_nothing_to_do() {
        assert_eq!(
            plan(&[], &Selection::All, &[], |_| Standing::Unknown),
            Plan::default()
        );
    }

    proptest! {
        /// H11, H12, H52: all of the audience, nobody else, and each connection once.
        #[test]
        fn every_row_goes_where_the_view_says_and_nowhere_else(case in case()) {
            let plan = case.plan(&case.rows);
            let mut named = BTreeMap::new();
            for route in &plan.routes {
                for &(connection, row) in &route.named {
                    prop_assert_eq!(row.instance, route.instance);
                    prop_assert!(named.insert(connection, row).is_none(), "twice");
                }
            }
            let mut dead = BTreeMap::new();
            for &(connection, row) in &case.rows {
                match case.standing(row.instance) {
                    Standing::Live { floor, doubtful: _ } if row.epoch >= floor => {
                        let selected = case.selects(connection);
                        prop_assert_eq!(named.remove(&connection), selected.then_some(row));
                    }
                    Standing::Live { .. } | Standing::Outdated | Standing::Unknown => {
                        dead.insert(connection, row);
                    }
                }
            }
            prop_assert!(named.is_empty(), "connections that no live row names: {named:?}");
            prop_assert_eq!(plan.dead, dead.into_iter().collect::<Vec<_>>());
        }

        /// H43: one route for each instance that is named or doubtful, and for no other.
        #[test]
        fn every_target_has_one_hop_and_every_doubtful_instance_is_asked(case in case()) {
            let plan = case.plan(&case.rows);
            prop_assert!(plan.routes.is_sorted_by(|a, b| a.instance < b.instance));
            let asked: Vec<_> =
                plan.routes.iter().filter(|route| route.ask).map(|route| route.instance).collect();
            prop_assert_eq!(asked, case.doubtful());
            prop_assert!(plan.routes.iter().all(|route| route.ask || !route.named.is_empty()));
        }

        #[test]
        fn the_order_of_the_rows_means_nothing(
            (case, shuffled) in case().prop_flat_map(|case| {
                let shuffled = Just(case.rows.clone()).prop_shuffle();
                (Just(case), shuffled)
            }),
        ) {
            prop_assert_eq!(case.plan(&shuffled), case.plan(&case.rows));
        }
    }

    #[derive(Clone, Debug)]
    struct Case {
        rows: Vec<(ConnectionId, Row)>,
        selection: Selection,
        /// Instances that are not in it are unknown.
        view: BTreeMap<InstanceId, Standing>,
    }

    impl Case {
        fn plan(&self, rows: &[(ConnectionId, Row)]) -> Plan {
            plan(rows, &self.selection, &self.doubtful(), |instance| {
                self.standing(instance)
            })
        }

        fn standing(&self, instance: InstanceId) -> Standing {
            self.view
                .get(&instance)
                .copied()
                .unwrap_or(Standing::Unknown)
        }

        fn doubtful(&self) -> Vec<InstanceId> {
            let in_doubt =
                |standing: &Standing| matches!(standing, Standing::Live { doubtful: true, .. });
            let doubtful = self.view.iter().filter(|(_, standing)| in_doubt(standing));
            doubtful.map(|(&instance, _)| instance).collect()
        }

        fn selects(&self, connection: ConnectionId) -> bool {
            match &self.selection {
                Selection::All => true,
                Selection::Only(connections) => connections.contains(&connection),
            }
        }
    }

    fn case() -> impl Strategy<Value = Case> {
        let rows = btree_map(0..60_u128, (0..8_u64, 0..4_u64), 0..40).prop_map(|rows| {
            rows.into_iter()
                .map(|(name, (instance, epoch))| row(name, instance, epoch))
                .collect()
        });
        let only = prop_oneof![
            btree_set(0..60_u128, 0..5).prop_map(|names| names.into_iter().collect::<Vec<_>>()),
            vec(0..60_u128, 0..50),
        ];
        let selection = prop_oneof![
            Just(Selection::All),
            only.prop_map(|names| Selection::Only(names.into_iter().map(connection).collect())),
        ];
        let standing = prop_oneof![
            4 => (0..4_u64, any::<bool>()).prop_map(|(floor, doubtful)| Standing::Live {
                floor: Epoch::new(floor),
                doubtful,
            }),
            1 => Just(Standing::Outdated),
            1 => Just(Standing::Unknown),
        ];
        let view = btree_map((0..8_u64).prop_map(InstanceId::new), standing, 0..8);
        (rows, selection, view).prop_map(|(rows, selection, view)| Case {
            rows,
            selection,
            view,
        })
    }

    fn route(instance: u64, named: Vec<(ConnectionId, Row)>, ask: bool) -> Route {
        Route {
            instance: InstanceId::new(instance),
            named: named.into(),
            ask,
        }
    }

    fn row(name: u128, instance: u64, epoch: u64) -> (ConnectionId, Row) {
        let row = Row {
            instance: InstanceId::new(instance),
            epoch: Epoch::new(epoch),
            connected: WallTime::from_millis(0),
        };
        (connection(name), row)
    }

    fn connection(name: u128) -> ConnectionId {
        ConnectionId::new(Uuid::from_u128(name))
    }

    fn live(floor: u64) -> Standing {
        Standing::Live {
            floor: Epoch::new(floor),
            doubtful: false,
        }
    }
}
