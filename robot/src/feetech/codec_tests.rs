use proptest::collection::vec;
use proptest::prelude::*;

use super::super::registers::{self, TORQUE_LIMIT, TORQUE_OFF, TORQUE_ON};
use super::*;

fn id(n: u8) -> ServoId {
    ServoId::new(n).unwrap()
}

/// Everything the parser gives for this stream, fed in pieces of `piece` bytes.
fn parse(parser: &mut ReplyParser, stream: &[u8], piece: usize) -> Vec<(u8, u8, Vec<u8>)> {
    let mut found = Vec::new();
    for chunk in stream.chunks(piece.max(1)) {
        parser.push(chunk);
        while let Some(status) = parser.next_reply() {
            found.push((status.id.get(), status.alarms.bits(), status.data.to_vec()));
        }
    }
    found
}

fn reply(n: u8, data: &[u8]) -> Vec<u8> {
    status(id(n), Alarms::default(), data).unwrap()
}

#[test]
fn requests_match_the_published_vectors() {
    assert_eq!(ping(id(1)), [0xFF, 0xFF, 1, 2, 1, 0xFB]);
    assert_eq!(
        read(id(1), 56, 2).unwrap(),
        [0xFF, 0xFF, 1, 4, 2, 0x38, 2, 0xBE]
    );
    assert_eq!(
        write(id(1), TORQUE_ON).unwrap(),
        [0xFF, 0xFF, 1, 4, 3, 40, 1, 0xCE]
    );
    assert_eq!(
        sync_read(&[id(1), id(2)], 56, 8).unwrap(),
        [0xFF, 0xFF, 0xFE, 6, 0x82, 0x38, 8, 1, 2, 0x36]
    );
    let goal = registers::goal(2048).unwrap();
    assert_eq!(
        sync_write(&[(id(1), goal), (id(2), goal)]).unwrap(),
        [0xFF, 0xFF, 0xFE, 10, 0x83, 42, 2, 1, 0, 8, 2, 0, 8, 0x35]
    );
}

#[test]
fn requests_that_are_no_frame_are_refused() {
    assert_eq!(sync_read(&[], 56, 2), Err(FrameError::NoServos));
    assert_eq!(sync_write(&[]), Err(FrameError::NoServos));
    assert_eq!(read(id(1), 56, 0), Err(FrameError::Empty));
    assert_eq!(read(id(1), 0, 200), Err(FrameError::TooLong(206)));
    assert_eq!(
        sync_read(&[id(4), id(4)], 56, 2),
        Err(FrameError::Duplicate(id(4)))
    );
    assert_eq!(
        sync_write(&[(id(1), TORQUE_OFF), (id(2), TORQUE_LIMIT.payload(1000))]),
        Err(FrameError::MixedRegisters)
    );
    let everyone: Vec<ServoId> = (0..=253).map(id).collect();
    assert!(matches!(
        sync_read(&everyone, 56, 2),
        Err(FrameError::TooLong(_))
    ));
    assert_eq!(ServoId::new(254), None);
}

#[test]
fn a_short_reply_with_a_valid_checksum_is_never_a_value() {
    let mut parser = ReplyParser::new(&[id(1)], 2);
    assert!(parse(&mut parser, &reply(1, &[7]), 64).is_empty());
    assert_eq!(parser.stats().wrong_lengths, 1);
    let mut parser = ReplyParser::new(&[id(1)], 2);
    assert!(parse(&mut parser, &reply(1, &[7, 8, 9]), 64).is_empty());
    for length in [0, 1, 255] {
        let mut parser = ReplyParser::new(&[id(1)], 2);
        let stream = [0xFF, 0xFF, 1, length, 0, 0, 0, 0, 0, 0];
        assert!(parse(&mut parser, &stream, 64).is_empty());
        assert_eq!(parser.stats().wrong_lengths, 1);
    }
}

#[test]
fn a_dropped_byte_costs_one_frame_and_not_the_next() {
    for drop in 0..reply(1, &[1, 2]).len() {
        let mut stream = reply(1, &[1, 2]);
        stream.remove(drop);
        stream.extend(reply(2, &[3, 4]));
        let mut parser = ReplyParser::new(&[id(1), id(2)], 2);
        let found = parse(&mut parser, &stream, 3);
        assert!(
            found.contains(&(2, 0, vec![3, 4])),
            "byte {drop} dropped: {found:?}"
        );
        assert!(
            found.iter().all(|f| f.0 != 1 || f.2 == [1, 2]),
            "byte {drop} dropped: {found:?}"
        );
    }
}

#[test]
fn strangers_and_repetitions_are_counted_and_kept_out() {
    let mut stream = reply(9, &[1, 2]);
    stream.extend(reply(3, &[5, 6]));
    stream.extend(reply(3, &[7, 8]));
    let mut parser = ReplyParser::new(&[id(3)], 2);
    assert_eq!(parse(&mut parser, &stream, 64), [(3, 0, vec![5, 6])]);
    assert_eq!(parser.stats().foreign_frames, 1);
    assert_eq!(parser.stats().duplicate_frames, 1);
    assert!(parser.is_complete() && parser.has_seen(id(3)) && !parser.has_seen(id(9)));
}

#[test]
fn our_own_echo_is_never_a_reply() {
    // A two-byte read request has the form of a two-byte reply: status 2, data 0x38 0x02.
    let request = read(id(1), 56, 2).unwrap();
    let mut naive = ReplyParser::new(&[id(1)], 2);
    assert_eq!(parse(&mut naive, &request, 64).len(), 1);

    let mut stream = request.clone();
    stream.extend(reply(1, &[0, 8]));
    let mut parser = ReplyParser::new(&[id(1)], 2).after_echo_of(&request);
    assert_eq!(parse(&mut parser, &stream, 1), [(1, 0, vec![0, 8])]);

    // With the echo damaged by a collision nothing at all is accepted.
    stream[3] ^= 1;
    let mut parser = ReplyParser::new(&[id(1)], 2).after_echo_of(&request);
    assert!(parse(&mut parser, &stream, 64).is_empty());
}

#[test]
fn alarms_name_what_is_wrong() {
    assert_eq!(Alarms::from_bits(0).to_string(), "no alarm");
    assert_eq!(Alarms::from_bits(0x24).to_string(), "temperature, overload");
    assert_eq!(Alarms::from_bits(0x10).to_string(), "unknown bits 0x10");
    assert!(Alarms::from_bits(2).encoder() && Alarms::from_bits(8).current());
}

proptest! {
    #[test]
    fn any_reply_round_trips(n in 0u8..254, alarms in any::<u8>(), data in vec(any::<u8>(), 0..100), piece in 1usize..40) {
        let stream = status(id(n), Alarms::from_bits(alarms), &data).unwrap();
        let mut parser = ReplyParser::new(&[id(n)], data.len() as u8);
        prop_assert_eq!(parse(&mut parser, &stream, piece), vec![(n, alarms, data)]);
        prop_assert!(parser.is_complete());
    }

    #[test]
    fn replies_are_found_behind_any_noise(
        noise in vec(any::<u8>(), 0..80),
        ff_run in 0usize..5,
        a in any::<[u8; 2]>(),
        b in any::<[u8; 2]>(),
        piece in 1usize..20,
    ) {
        let mut stream = noise.clone();
        stream.extend(std::iter::repeat_n(0xFF, ff_run));
        // Noise may swallow the first frame by looking like the head of another; a second good frame must then be found.
        stream.extend(reply(5, &a));
        stream.extend(reply(6, &b));
        let mut parser = ReplyParser::new(&[id(5), id(6)], 2);
        let found = parse(&mut parser, &stream, piece);
        let forged = noise.windows(3).any(|w| w[0] == 0xFF && w[1] == 0xFF && w[2] < 254) || noise.ends_with(&[0xFF]) || noise.ends_with(&[0xFF, 0xFF]);
        if !forged {
            prop_assert_eq!(found, vec![(5, 0, a.to_vec()), (6, 0, b.to_vec())]);
        }
    }

    #[test]
    fn a_flipped_bit_never_passes(data in any::<[u8; 15]>(), bit in 0usize..(21 * 8)) {
        let mut stream = reply(2, &data);
        stream[bit / 8] ^= 1 << (bit % 8);
        let mut parser = ReplyParser::new(&[id(2)], 15);
        prop_assert!(parse(&mut parser, &stream, 64).is_empty());
    }

    #[test]
    fn unread_bytes_are_bounded(chunks in vec(vec(any::<u8>(), 0..3000), 0..6)) {
        let mut parser = ReplyParser::new(&[id(1)], 100);
        for chunk in &chunks {
            parser.push(chunk);
            prop_assert!(parser.buffer.len() <= ReplyParser::CAPACITY);
        }
        while parser.next_reply().is_some() {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn byte_soup_never_panics_and_never_invents_a_malformed_value(
        stream in vec(prop_oneof![Just(0xFFu8), Just(1), Just(4), any::<u8>()], 0..600),
        piece in 1usize..64,
    ) {
        let mut parser = ReplyParser::new(&[id(1), id(4)], 2);
        let found = parse(&mut parser, &stream, piece);
        prop_assert!(found.len() <= 2);
        for (n, alarms, data) in found {
            prop_assert!(n == 1 || n == 4);
            let frame = status(id(n), Alarms::from_bits(alarms), &data).unwrap();
            prop_assert!(stream.windows(frame.len()).any(|w| w == frame), "a value from bytes that were no frame");
        }
    }
}
