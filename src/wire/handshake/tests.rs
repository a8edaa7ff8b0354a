//! What the documents of the handshake say, and that no text from outside is more than misunderstood.

use super::problem::REASONS;
use super::*;
use proptest::prelude::*;

fn id(n: u8) -> Id {
    Id::new([n; 16])
}

#[test]
fn a_begin_as_anybody_would_write_it() {
    let text = r#"{"key":"000102030405060708090a0b0c0d0e0f","name":"a/b.iso","size":25,"chunk_size":10,
        "if_exists":"replace","md5":"25F9E794323B453885F5181F1B624D0B","unknown":[1]}"#;
    let begin: Begin = serde_json::from_str(text).unwrap();
    assert_eq!((begin.if_exists, begin.join, begin.layout().unwrap().count()), (IfExists::Replace, true, 3));
    assert_eq!(begin.md5.as_ref().unwrap().hex(), "25f9e794323b453885f5181f1b624d0b");
    let again: Begin = serde_json::from_str(&serde_json::to_string(&begin).unwrap()).unwrap();
    assert_eq!(again, begin);
    let short = r#"{"key":"000102030405060708090a0b0c0d0e0f","name":"x","size":0,"chunk_size":1}"#;
    let short: Begin = serde_json::from_str(short).unwrap();
    assert_eq!((short.if_exists, short.md5.clone(), short.layout().unwrap().count()), (IfExists::Fail, None, 0));
    assert!(!serde_json::to_string(&short).unwrap().contains("join"));
}

#[test]
fn a_begin_that_cannot_be() {
    for (from, to) in [
        ("000102030405060708090a0b0c0d0e0f", "00"),
        ("000102030405060708090a0b0c0d0e0f", "000102030405060708090A0B0C0D0E0F"),
        ("\"size\":25", "\"size\":-1"),
        ("\"size\":25", "\"size\":18446744073709551616"),
        ("\"fail\"", "\"maybe\""),
        ("\"name\":\"x\"", "\"nam\":\"x\""),
        ("25f9e794323b453885f5181f1b624d0b", "25f9"),
    ] {
        let good = r#"{"key":"000102030405060708090a0b0c0d0e0f","name":"x","size":25,"chunk_size":1,
            "if_exists":"fail","md5":"25f9e794323b453885f5181f1b624d0b"}"#;
        assert!(serde_json::from_str::<Begin>(good).is_ok());
        assert!(serde_json::from_str::<Begin>(&good.replace(from, to)).is_err(), "{to}");
    }
    let begin = |size, chunk_size| Begin {
        key: id(1),
        name: "x".into(),
        size,
        chunk_size,
        if_exists: IfExists::Fail,
        modified: None,
        md5: None,
        join: true,
        want: vec![],
    };
    assert!(begin(10, 0).layout().is_none());
    assert!(begin(MAX_CHUNKS + 1, 1).layout().is_none() && begin(MAX_CHUNKS, 1).layout().is_some());
    assert!(begin(u64::MAX, u64::MAX).layout().is_none());
}

#[test]
fn a_status_as_the_document_shows_it() {
    let text = r#"{"upload":"/.onward/uploads/x","state":"partial","have":"0-5,9","within":{"121":"0-3145727"},
        "size":1056964608,"chunk_size":8388608,"name":"big.iso"}"#;
    let status: Status = serde_json::from_str(text).unwrap();
    let held = status.held().unwrap();
    assert_eq!(held.len(), 7 * 8_388_608 + 3_145_728);
    assert_eq!(
        Status::sets(&Layout::new(1_056_964_608, 8_388_608), &held),
        (status.have.clone(), status.within.clone())
    );
    let printed = serde_json::to_string(&status).unwrap();
    assert!(printed.contains(r#""within":{"121":"0-3145727"}"#) && !printed.contains("other"), "{printed}");
    assert_eq!(serde_json::from_str::<Status>(&printed).unwrap(), status);
    for (from, to) in [("0-5,9", "0-500"), ("0-3145727", "0-8388608"), ("8388608,", "0,"), ("\"121\"", "\"921\"")] {
        let lie: Status = serde_json::from_str(&text.replacen(from, to, 1)).unwrap();
        assert_eq!(lie.held(), None, "{to}");
    }
}

#[test]
fn fields() {
    let mut digests = Digests::default();
    digests.set(Digest::parse("crc64nvme:ae8b14860a799888").unwrap());
    assert_eq!(digests.to_field(), "crc64nvme=:rosUhgp5mIg=:");
    assert_eq!(Digests::from_field("crc64nvme=:rosUhgp5mIg=:").unwrap(), digests);
    assert_eq!(Digests::from_field("new=:AAAA:, crc64nvme=:rosUhgp5mIg=:").unwrap(), digests);
    for bad in ["crc64nvme=:AAAA:", "crc64nvme=rosUhgp5mIg=", "crc64nvme=(:rosUhgp5mIg=:)", "=", "md5=:!:"] {
        assert_eq!(Digests::from_field(bad), None, "{bad}");
    }
    let limits = Limits { chunk_max: Some(1 << 30), file_max: None, digests: DIGESTS.to_vec() };
    assert_eq!(limits.to_field(), "chunk-max=1073741824, digests=\"crc64nvme sha-256 md5\"");
    assert_eq!(Limits::from_field(&limits.to_field()), limits);
    assert_eq!(Limits { file_max: Some(u64::MAX), ..Limits::default() }.to_field(), "");
    assert_eq!(Limits::from_field("chunk-max=-1, file-max=\"9\", digests=7"), Limits::default());
}

#[test]
fn places_below_an_upload() {
    for place in [Place::Upload, Place::Chunk(0), Place::Chunk(9999), Place::Digests, Place::Identity, Place::Complete]
    {
        assert_eq!(Place::parse(&place.to_string()), Some(place));
    }
    for bad in ["/", "/-1", "/+1", "/1/", "/1/2", "1", "/Complete", "/99999999999999999999"] {
        assert_eq!(Place::parse(bad), None, "{bad}");
    }
    let set = IndexSet::parse("0-5,9").unwrap();
    assert_eq!(digests_query(&set), "?chunks=0-5,9");
    for query in ["chunks=0-5,9", "chunks=0-5%2C9"] {
        assert_eq!(read_digests_query(query), Some(set.clone()));
    }
    assert_eq!(read_digests_query("chunk=0"), None);
}

#[test]
fn every_reason_has_one_row() {
    for (reason, slug, status, _) in REASONS {
        let problem = Problem::new(reason, "why");
        assert_eq!((problem.reason(), problem.status), (Some(reason), status));
        assert_eq!(REASONS.iter().filter(|row| row.0 == reason || row.1 == slug).count(), 1, "{slug}");
    }
    let foreign: Problem = serde_json::from_str(r#"{"title":"No"}"#).unwrap();
    assert_eq!((foreign.reason(), foreign.title.as_str()), (None, "No"));
}

#[test]
fn a_proof_is_the_hash_of_nonce_and_bytes() {
    let mut hasher = proof(&id(0));
    hasher.update(b"abc");
    let mut plain = Hasher::new(Algorithm::Sha256);
    plain.update(&[0; 16]);
    plain.update(b"abc");
    assert_eq!(hasher.finish(), plain.finish());
    let offer = |text: &str| Offer { state: State::Partial, nonce: id(2), ranges: ByteSet::parse(text).unwrap() };
    assert!(offer("0-9,20-29").fits(30) && !offer("0-9,20-29").fits(29) && !offer("0-16777216").fits(1 << 30));
    assert_eq!(format!("{:?}", id(2)), "0202…", "ids are not printed whole");
}

proptest! {
    /// What a server says it holds is what a client reads, whatever it holds.
    #[test]
    fn sets_and_bytes_say_the_same(size in 0u64..500, chunk_size in 1u64..60,
                                   runs in prop::collection::vec((0u64..500, 0u64..90), 0..12)) {
        let layout = Layout::new(size, chunk_size);
        let held: ByteSet = runs.into_iter()
            .map(|(start, len)| ByteRange::new(start, start + len).intersect(&layout.whole())).collect();
        let (have, within) = Status::sets(&layout, &held);
        let status = Status {
            upload: "/u".into(), state: State::Partial, have, within, size, chunk_size, name: "n".into(),
            file: None, expires: None, other: None, digests: Digests::default(), joined: false,
        };
        let text = serde_json::to_string(&status).unwrap();
        let read: Status = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(read.held(), Some(held));
        prop_assert!(text.len() < MAX_REPLY);
    }

    #[test]
    fn digests_survive_their_field(bytes in prop::array::uniform32(any::<u8>()), sum in any::<u64>()) {
        let mut digests = Digests::default();
        digests.set(Digest::new(Algorithm::Sha256, bytes.to_vec()).unwrap());
        digests.set(Digest::new(Algorithm::Crc64Nvme, sum.to_be_bytes().to_vec()).unwrap());
        prop_assert_eq!(Digests::from_field(&digests.to_field()), Some(digests.clone()));
        let text = serde_json::to_string(&digests).unwrap();
        prop_assert_eq!(serde_json::from_str::<Digests>(&text).unwrap(), digests);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,80}") {
        let _ = (Digests::from_field(&text), Limits::from_field(&text), Place::parse(&text), Id::parse(&text));
        let _ = (read_digests_query(&text), Reason::from_type(&text));
        let _ = serde_json::from_str::<Begin>(&text);
    }

    /// A status a server could make up: reading what it holds never panics, and never goes past the file.
    #[test]
    fn a_lying_status_is_harmless(have in "[0-9,-]{0,12}", key in any::<u64>(), runs in "[0-9,-]{0,12}",
                                  size in any::<u64>(), chunk_size in any::<u64>()) {
        let text = format!(
            r#"{{"upload":"/u","state":"new","have":"{have}","within":{{"{key}":"{runs}"}},"size":{size},"chunk_size":{chunk_size},"name":""}}"#
        );
        if let Some(held) = serde_json::from_str::<Status>(&text).ok().and_then(|status| status.held()) {
            prop_assert!(held.end() <= size);
        }
    }
}
