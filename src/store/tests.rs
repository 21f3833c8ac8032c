//! The store, on folders that go away with the test.

mod damage;

mod figures;

mod outbox;

mod sample;

mod writing;
