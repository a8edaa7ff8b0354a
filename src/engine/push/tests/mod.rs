//! The upload loop against remotes that exist only here.

// A test may write a file without ceremony.
#![allow(clippy::disallowed_methods)]

mod fake;

use super::*;
use crate::byteset::ByteSet;
use crate::chunk::ByteRange;
use crate::remote::{Claim, Closed};
use fake::*;

#[test]
fn every_shape_of_server_and_every_edge_of_a_size() {
    for shape in [Shape::Set, Shape::Prefix, Shape::Blind] {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 299_993] {
            let world = World::new(length, shape);
            let outcome = world.run().unwrap_or_else(|fault| panic!("{shape:?} {length}: {fault}"));
            world.arrived();
            assert_eq!(
                (world.sent(), outcome.moved, outcome.already),
                (length, length, if length == 0 { 0 } else { outcome.already })
            );
            assert!(outcome.proof.is_some());
        }
    }
}

#[test]
fn lost_answers_are_asked_about_before_anything_is_sent_again() {
    for shape in [Shape::Set, Shape::Prefix] {
        let world =
            World::new(500_000, shape).tricks([(1, Trick::LoseAnswer), (5, Trick::LosePart), (9, Trick::LoseAnswer)]);
        world.run().unwrap();
        world.arrived();
        assert!(world.sent() <= 500_000 + 4 * 40_000, "{shape:?}: {}", world.sent());
        assert!(world.heard(|event| matches!(event, Event::Retry { .. })) >= 3);
    }
}

#[test]
fn a_server_that_appends_and_cannot_tell_is_never_sent_a_part_twice() {
    let world = World::new(500_000, Shape::Blind).tricks([(3, Trick::LoseAnswer)]);
    let fault = world.run().unwrap_err();
    assert_eq!((fault.kind, fault.code()), (Kind::Unknown, 10));
    let store = world.fake.store.borrow();
    assert_eq!(store.sent.len(), 4);
    assert!(store.sent.windows(2).all(|two| two[0].end == two[1].start), "{:?}", store.sent);
}

#[test]
fn what_nobody_knows_is_asked_of_a_person() {
    for arrived in [true, false] {
        let trick = if arrived { Trick::LoseAnswer } else { Trick::LosePart };
        let world = World::new(500_000, Shape::Blind).tricks([(3, trick)]);
        for _ in 0..2 {
            let fault = world.run().unwrap_err();
            assert_eq!(fault.code(), 10, "{fault}");
            assert!(fault.hint.unwrap().contains("onward resume --assume stored"));
            assert_eq!(world.fake.store.borrow().sent.len(), 4, "it was sent again although nobody knows");
        }
        let assume = Some(if arrived { Assume::Stored } else { Assume::Lost });
        let world = World { job: Job { assume, ..world.job.clone() }, ..world };
        world.run().unwrap();
        world.arrived();
        let again = if arrived { 0 } else { world.fake.store.borrow().sent[3].len() };
        assert_eq!(world.sent(), 500_000 + again);
    }
}

#[test]
fn a_stop_waits_for_the_answer_that_nobody_could_tell_later() {
    let world = World::new(500_000, Shape::Blind).tricks([(3, Trick::Stop(true))]);
    assert_eq!(world.run().unwrap_err().kind, Kind::Interrupted);
    let world = world.again();
    assert_eq!(world.run().unwrap_err().code(), 10, "no answer came in that time");
    let world = World { job: Job { restart: true, ..world.job.clone() }, ..world };
    world.run().unwrap();
    world.arrived();
    assert_eq!(world.fake.store.borrow().abandoned, 1);
}

#[test]
fn a_restart_forgets_what_was_begun() {
    let world = World::new(500_000, Shape::Set).tricks([(7, Trick::Stop(false))]);
    world.run().unwrap_err();
    let world = world.again();
    let world = World { job: Job { restart: true, ..world.job.clone() }, ..world };
    let outcome = world.run().unwrap();
    world.arrived();
    assert_eq!((outcome.moved, outcome.already), (500_000, 0));
    assert_eq!((world.fake.store.borrow().abandoned, world.fake.store.borrow().keys.len()), (1, 2));
    let other = World { job: Job { protocol: Some("other"), ..world.job.clone() }, ..world };
    assert_eq!(other.run().unwrap_err().kind, Kind::Usage);
}

#[test]
fn passing_trouble_passes() {
    let world = World::new(500_000, Shape::Set).tricks([
        (0, Trick::Busy),
        (2, Trick::Damage),
        (4, Trick::Busy),
        (6, Trick::Keep(10_000)),
    ]);
    world.run().unwrap();
    world.arrived();
    let hopeless = World::new(500_000, Shape::Set).tricks((0..99).map(|_| (0, Trick::Busy)));
    let fault = hopeless.run().unwrap_err();
    assert_eq!((fault.kind, fault.code()), (Kind::Busy, 3));
}

#[test]
fn a_piece_that_is_too_large_is_halved_and_the_chunk_is_not() {
    let world = World::new(500_000, Shape::Set).tricks([(0, Trick::TooLarge), (1, Trick::TooLarge)]);
    world.run().unwrap();
    world.arrived();
    let store = world.fake.store.borrow();
    assert!(store.sent[3..].iter().all(|range| range.len() <= 20_000), "{:?}", store.sent);
    drop(store);
    let hopeless = World::new(500_000, Shape::Set).tricks((0..99).map(|_| (0, Trick::TooLarge)));
    assert_eq!(hopeless.run().unwrap_err().status, Some(413));
}

/// The part of a form upload by `dialect`, of a file of `length` bytes, begun at `rate` over `connections`.
fn part_at(dialect: &str, length: u64, rate: u64, connections: Option<u32>) -> u64 {
    use crate::remote::{Destination, Manner, Remotes, dialect};
    let text = dialect::library::text(dialect).unwrap().into();
    let given = dialect::Given { name: dialect.into(), text, embedded: true };
    let manner = Manner { dialect: Some(given), ..Manner::default() };
    let url: url::Url = "http://127.0.0.1:9/up/f".parse().unwrap();
    let destination = Destination { base: url.join(".").ok(), url, access: Default::default() };
    let remotes = Remotes::new(Rc::new(crate::net::Net::new(Default::default())), manner);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let remote = runtime.block_on(remotes.choose(destination, None)).unwrap();
    remote.expect(length);
    begin::fit(&*remote, None, Some(rate), connections);
    remote.terms().uniform.unwrap()
}

#[test]
fn parts_that_count_whole_are_begun_so_small_that_they_take_no_ten_seconds() {
    let mib = 1 << 20;
    assert_eq!(part_at("check-file", 100 * mib, mib, None), 5 * mib, "the page's own size takes five seconds");
    assert_eq!(part_at("check-file", 100 * mib, mib / 4, None), 5 * mib / 2);
    assert_eq!(part_at("check-file", 100 * mib, mib / 4, Some(8)), 5 * mib / 2, "it takes one at a time");
    assert_eq!(part_at("resumable", 100 * mib, mib / 16, None), mib / 2);
    assert_eq!(part_at("resumable", 100 * mib, mib / 4, Some(8)), mib / 2, "of those, some are under way at once");
    assert!(part_at("check-file", 100 * mib, 1, None) >= 8 << 10, "a request costs more than is saved");
    let many = 9999 * mib;
    assert_eq!(part_at("resumable", many, mib / 16, None), mib, "with smaller ones there would be too many");
}

#[test]
fn a_lost_upload_is_begun_anew_and_that_is_said() {
    let world = World::new(500_000, Shape::Set).tricks([(6, Trick::Forget)]);
    world.run().unwrap();
    world.arrived();
    assert_eq!(world.fake.store.borrow().keys.len(), 2, "another key");
    assert_eq!(world.heard(|event| matches!(event, Event::Restarted { .. })), 1);
}

#[test]
fn a_stopped_run_leaves_a_record_and_the_next_one_sends_the_rest() {
    let cases = [(Shape::Set, true), (Shape::Set, false), (Shape::Prefix, true), (Shape::Prefix, false)];
    for (shape, arrives) in cases {
        let world = World::new(500_000, shape).tricks([(7, Trick::Stop(arrives))]);
        let fault = world.run().unwrap_err();
        assert_eq!(fault.kind, Kind::Interrupted);
        assert!(fault.kept.as_ref().is_some_and(|kept| kept.contains("of 5 chunks")), "{fault:?}");
        let before = world.sent();
        assert!(before < 400_000);
        let world = world.again();
        let outcome = world.run().unwrap();
        world.arrived();
        assert!(world.sent() <= 500_000 + 2 * 40_000, "{shape:?}: {}", world.sent());
        assert!(outcome.already > 0 && outcome.already + outcome.moved >= 500_000, "{outcome:?}");
        assert_eq!(world.heard(|event| matches!(event, Event::Resumed { .. })), 1);
        assert_eq!(world.fake.store.borrow().keys.len(), 1, "the same key");
    }
}

#[test]
fn a_source_that_changes_under_the_send_is_never_mixed() {
    // A chunk that was sent, one under way, one to come; again and again.
    for at in [10, 150_000, 250_000, 499_000] {
        for number in [1, 4, 9, 13] {
            let world = World::new(500_000, Shape::Set).tricks([(number, Trick::Write(at, b"something new".to_vec()))]);
            world.run().unwrap_or_else(|fault| panic!("{at} {number}: {fault}"));
            world.arrived();
            assert!(world.sent() <= 500_000 + CHUNK + 6 * 40_000, "only what changed is sent again: {}", world.sent());
        }
    }
}

#[test]
fn a_source_that_changed_between_two_runs_is_compared() {
    let world = World::new(500_000, Shape::Set).tricks([(9, Trick::Stop(false))]);
    world.run().unwrap_err();
    let mut bytes = content(500_000);
    bytes[20_000] ^= 1;
    std::fs::write(&world.source, &bytes).unwrap();
    let world = world.again();
    world.run().unwrap();
    world.arrived();
    assert!(world.fake.store.borrow().replaced > 0);
    assert!(world.sent() <= 500_000 + CHUNK + 3 * 40_000, "{}", world.sent());
}

#[test]
fn a_server_that_cannot_replace_refuses_a_changed_source() {
    let world = World::new(500_000, Shape::Prefix).tricks([(9, Trick::Stop(false))]);
    world.run().unwrap_err();
    let mut bytes = content(500_000);
    bytes[20_000] ^= 1;
    std::fs::write(&world.source, &bytes).unwrap();
    let world = world.again();
    let fault = world.run().unwrap_err();
    assert_eq!((fault.kind, fault.code()), (Kind::Changed, 4));
    bytes[20_000] ^= 1;
    std::fs::write(&world.source, &bytes).unwrap();
    let world = world.again();
    world.run().unwrap();
    world.arrived();
}

#[test]
fn a_source_that_only_was_touched_goes_on() {
    for shape in [Shape::Set, Shape::Prefix] {
        let world = World::new(500_000, shape).tricks([(9, Trick::Stop(false))]);
        world.run().unwrap_err();
        std::fs::write(&world.source, content(500_000)).unwrap();
        let world = world.again();
        world.run().unwrap();
        world.arrived();
        assert!(world.sent() <= 500_000 + 3 * 40_000, "{shape:?}: {}", world.sent());
    }
}

#[test]
fn another_length_stops_the_run_and_is_a_new_upload_in_the_next() {
    let world = World::new(500_000, Shape::Set).tricks([(6, Trick::Cut(450_000))]);
    let fault = world.run().unwrap_err();
    assert_eq!((fault.kind, fault.code()), (Kind::Changed, 4));
    let strict = World { job: Job { no_restart: true, ..world.job.clone() }, ..world };
    assert_eq!(strict.run().unwrap_err().kind, Kind::Changed);
    let world = World { job: Job { no_restart: false, ..strict.job.clone() }, ..strict };
    world.run().unwrap();
    world.arrived();
    assert_eq!(world.heard(|event| matches!(event, Event::Restarted { .. })), 1);
    assert_eq!(world.fake.store.borrow().abandoned, 1, "what nobody can go on with is given up");
}

#[test]
fn a_source_that_never_rests_is_given_up() {
    let tricks = (0..200).map(|n| (n, Trick::Write(n as u64, vec![n as u8; 3])));
    let fault = World::new(500_000, Shape::Set).tricks(tricks).run().unwrap_err();
    assert_eq!(fault.kind, Kind::Changed, "{fault}");
}

#[test]
fn all_that_can_be_said_at_the_end() {
    let closes = [
        Closed::Pending(Duration::from_millis(1)),
        Closed::Ambiguous(Fault::new(Kind::Network, "cut")),
        Closed::Missing(ByteSet::of(ByteRange::new(0, CHUNK))),
        Closed::Suspect(ByteSet::new()),
    ];
    for close in closes {
        let world = World::new(500_000, Shape::Set);
        if let Closed::Missing(missing) = &close {
            let store = world.fake.store.clone();
            let missing = missing.clone();
            store.borrow_mut().held.subtract(&missing);
        }
        world.fake.closes.borrow_mut().push_back(close.clone());
        world.run().unwrap_or_else(|fault| panic!("{close:?}: {fault}"));
        world.arrived();
    }
    let taken = World::new(500_000, Shape::Set);
    taken.fake.closes.borrow_mut().push_back(Closed::Taken(Fault::status(409, "taken")));
    let fault = taken.run().unwrap_err();
    assert_eq!((fault.kind, fault.kept.as_deref()), (Kind::Exists, Some("the server keeps the upload whole")));
    taken.run().unwrap();
    assert_eq!(taken.sent(), 500_000, "nothing is sent again");
    let damaged = World::new(500_000, Shape::Set);
    damaged.fake.closes.borrow_mut().extend((0..99).map(|_| Closed::Suspect(ByteSet::new())));
    assert_eq!(damaged.run().unwrap_err().kind, Kind::Integrity);
}

#[test]
fn bytes_damaged_at_the_server_are_found_and_replaced() {
    let world = World::new(500_000, Shape::Set).tricks([(9, Trick::Stop(false))]);
    world.run().unwrap_err();
    world.fake.store.borrow_mut().bytes[10] ^= 0xff;
    let world = world.again();
    world.run().unwrap();
    world.arrived();
    assert!(world.fake.store.borrow().replaced > 0);
}

#[test]
fn what_the_server_stored_is_compared_before_success_is_told() {
    let world = World::new(500_000, Shape::Set);
    world.fake.lie.set(true);
    let fault = world.run().unwrap_err();
    assert_eq!((fault.kind, fault.code()), (Kind::Integrity, 5));
}

#[test]
fn a_taken_name_with_the_same_content_is_done_without_a_byte() {
    let world = World::new(500_000, Shape::Set);
    world.fake.store.borrow_mut().bytes = content(500_000);
    world.fake.claim.replace(Some(Claim {
        complete: true,
        nonce: vec![7; 16],
        ranges: ByteSet::of(ByteRange::new(5, 900)),
    }));
    world.fake.taken.set(true);
    let outcome = world.run().unwrap();
    assert_eq!((world.sent(), outcome.moved, outcome.already), (0, 0, 500_000));
    assert_eq!(outcome.proof.as_deref(), Some("sha-256"));
    world.arrived();
}

#[test]
fn a_taken_name_is_refused_or_left_alone() {
    // A server that knows no identities cannot show that the content is the same.
    let world = World::new(500_000, Shape::Prefix);
    world.fake.taken.set(true);
    let fault = world.run().unwrap_err();
    assert_eq!(fault.status, Some(409));
    assert!(fault.next().unwrap().contains("--overwrite"));
    assert_eq!(std::fs::read_dir(world.dir.path()).unwrap().count(), 1, "nothing was begun, so nothing is left");
    let world = World { job: Job { existing: Existing::Keep, ..world.job.clone() }, ..world };
    assert_eq!(world.run().unwrap().moved, 0);
}

#[test]
fn an_upload_of_the_same_content_is_joined_and_a_different_one_is_not() {
    for damaged in [false, true] {
        let world = World::new(500_000, Shape::Set);
        {
            let mut store = world.fake.store.borrow_mut();
            store.bytes = content(500_000);
            store.held = ByteSet::of(ByteRange::new(0, 250_000));
            if damaged {
                store.bytes[150_000] ^= 1;
            }
        }
        let ranges = ByteSet::of(ByteRange::new(0, 1000));
        world.fake.claim.replace(Some(Claim { complete: false, nonce: vec![1; 16], ranges }));
        let outcome = world.run().unwrap();
        world.arrived();
        match damaged {
            // Two whole chunks count; of the half one nobody has shown a digest.
            false => assert_eq!((world.sent(), outcome.already), (300_000, 200_000)),
            true => assert!(world.sent() > 300_000),
        }
    }
}

#[test]
fn a_wrong_proof_changes_nothing() {
    let world = World::new(500_000, Shape::Set);
    world.fake.store.borrow_mut().bytes = vec![9; 500_000];
    world.fake.claim.replace(Some(Claim {
        complete: true,
        nonce: vec![1; 16],
        ranges: ByteSet::of(ByteRange::new(0, 9)),
    }));
    world.run().unwrap();
    world.arrived();
    assert_eq!(world.sent(), 500_000);
}

#[test]
fn terms_are_checked_before_the_first_byte() {
    let small = |terms: Terms| {
        let world = World::new(500_000, Shape::Set);
        let fake = Rc::try_unwrap(world.fake).ok().unwrap();
        World { fake: Rc::new(Fake { terms, ..fake }), ..world }
    };
    let file = small(Terms { file_max: Some(499_999), ..terms(Shape::Set) });
    assert_eq!(file.run().unwrap_err().kind, Kind::Refused);
    assert_eq!(file.fake.store.borrow().opened, 0);
    let chunk = small(Terms { chunk_max: Some(60_000), ..terms(Shape::Set) });
    chunk.run().unwrap();
    assert_eq!(small(Terms { chunk_max: Some(10), ..terms(Shape::Set) }).run().unwrap_err().kind, Kind::Refused);
}
