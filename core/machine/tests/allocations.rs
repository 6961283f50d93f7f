//! How often an instance asks for memory. The count does not depend on the machine, or on what else it does.
//!
//! Where a figure has become smaller, so should the one here.

#![expect(unsafe_code, reason = "an allocator that counts is one")]

#[path = "../benches/world/mod.rs"]
mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use switchboard_core::id::UserId;
use switchboard_core::message::{Action, Audience, ListOrder};
use world::{Work, World};

/// Pushes that are counted, so that a table which grows now and then does not matter.
const PUSHES: u64 = 1000;

#[test]
fn a_push_allocates_no_more_than_it_did() {
    let figures = [
        ("a push to a terminal of this instance", local(), 7),
        ("a push to a terminal of another one, at both", routed(), 11),
        ("a delivery of a push to everyone", broadcast(), 0),
    ];
    for (what, counted, most) in figures {
        assert!(
            counted <= most,
            "{what}: {counted} allocations, and no more than {most} are known"
        );
    }
}

/// A page of the users with a connection costs what it holds, however many there are.
#[test]
fn a_page_of_users_costs_no_walk_over_all() {
    let (few, many) = (page(500), page(4_000));
    assert!(many <= few, "{many} allocations, and {few} of few users");
}

/// What a page in the middle of so many users costs.
fn page(users: usize) -> u64 {
    let mut world = World::new(1, watch);
    let user = |number: usize| UserId::new(&format!("user{number:05}")).expect("a user");
    for number in 0..users {
        world.connect_as(0, user(number));
    }
    world.pass(Duration::from_secs(5));
    let list = Action::List {
        order: ListOrder::Users {
            after: Some(user(users / 2)),
        },
        limit: 10,
    };
    COUNTED.set(0);
    assert_eq!(world.act(&Audience::Everyone, &list, 1), users);
    COUNTED.get()
}

fn local() -> u64 {
    let mut world = World::new(1, watch);
    world.connect(0);
    each(&mut world, 1)
}

fn routed() -> u64 {
    let mut world = World::new(2, watch);
    world.connect(1);
    each(&mut world, 1)
}

fn each(world: &mut World, terminals: usize) -> u64 {
    world.pass(Duration::from_secs(5));
    // What is made once is there: links, queues, tables.
    for _ in 0..PUSHES {
        assert_eq!(world.push(1), terminals);
    }
    COUNTED.set(0);
    for _ in 0..PUSHES {
        assert_eq!(world.push(1), terminals);
    }
    COUNTED.get() / PUSHES
}

fn broadcast() -> u64 {
    const TERMINALS: usize = 1000;
    let mut world = World::new(1, watch);
    for _ in 0..TERMINALS {
        world.connect(0);
    }
    world.pass(Duration::from_secs(5));
    let mut push = || {
        COUNTED.set(0);
        world.push_to(&Audience::Everyone, 1);
        // It is served at a steady pace.
        world.pass(Duration::from_millis(500));
        world.written()
    };
    push();
    assert_eq!(push(), TERMINALS);
    COUNTED.get() / TERMINALS as u64
}

thread_local! {
    static IS_AT_WORK: Cell<bool> = const { Cell::new(false) };
    static COUNTED: Cell<u64> = const { Cell::new(0) };
}

fn watch(work: Work) {
    IS_AT_WORK.set(work == Work::Begins);
}

/// Counts what is asked of the system's allocator while an instance is at work.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

impl Counting {
    fn count() {
        if IS_AT_WORK.get() {
            COUNTED.set(COUNTED.get() + 1);
        }
    }
}

// SAFETY: all is the system's, which is asked for the same.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: as for this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as for this function.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count();
        // SAFETY: as for this function.
        unsafe { System.realloc(memory, layout, size) }
    }
}
