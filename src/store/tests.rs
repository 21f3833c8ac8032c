//! The store, on folders that go away with the test.

mod damage;

mod figures;

mod outbox;

mod rounds;

mod sample;

mod writing;
