use super::*;
use crate::store::tests::{NOW, variant};

fn shared() -> Arc<SharedBody> {
    let head = variant(1, NOW);
    let mut head = Stored::clone(&head);
    head.headers.remove("content-length");
    Arc::new(SharedBody {
        head: Arc::new(head),
        arrived: Mutex::default(),
    })
}

fn read(reader: &mut Reader) -> Poll<Option<Result<Bytes, String>>> {
    let polled = reader.poll(&mut Context::from_waker(Waker::noop()));
    polled.map(|piece| piece.map(|piece| piece.map_err(|error| error.to_string())))
}

#[test]
fn small_pieces_cost_little_and_all_read_the_same() {
    let shared = shared();
    let mut first = shared.read_all();
    let mut seen = Vec::new();
    for n in 0..100_000_u32 {
        shared.push(Bytes::copy_from_slice(&[n.to_be_bytes()[3]]));
        if n % 1000 == 0 {
            while let Poll::Ready(Some(Ok(piece))) = read(&mut first) {
                assert!(!piece.is_empty());
                seen.extend_from_slice(&piece);
            }
        }
    }
    assert!(shared.lock().pieces.len() <= 100_000 / TAIL_MAX + 1);
    let whole = shared.concat(&[]);
    shared.end_passed_on();
    let mut late = shared.read_all();
    let mut all = Vec::new();
    for (reader, bytes) in [(&mut first, &mut seen), (&mut late, &mut all)] {
        while let Poll::Ready(Some(piece)) = read(reader) {
            bytes.extend_from_slice(&piece.unwrap());
        }
    }
    assert_eq!(
        (seen.len(), seen == whole, all == whole),
        (100_000, true, true)
    );
}

#[test]
fn who_comes_after_something_was_dropped_is_told_so() {
    let shared = shared();
    let mut first = shared.read_all();
    for _ in 0..4 {
        shared.push(Bytes::from(vec![0; SMALL]));
    }
    for _ in 0..3 {
        assert!(matches!(read(&mut first), Poll::Ready(Some(Ok(piece))) if piece.len() == SMALL));
    }
    assert_eq!(
        shared.poll_room(&mut Context::from_waker(Waker::noop())),
        Poll::Ready(Some(()))
    );
    assert!(matches!(
        read(&mut shared.read_all()),
        Poll::Ready(Some(Err(_)))
    ));
    assert!(matches!(read(&mut first), Poll::Ready(Some(Ok(_)))));
}

#[test]
fn one_who_holds_up_others_is_cut_off_and_one_alone_is_not() {
    let shared = shared();
    let mut slow = shared.read_all();
    shared.cut_slowest();
    shared.push(Bytes::from(vec![0; SMALL]));
    assert!(matches!(read(&mut slow), Poll::Ready(Some(Ok(_)))));
    let mut quick = shared.read_all();
    shared.push(Bytes::from(vec![0; 2 * SMALL]));
    while let Poll::Ready(Some(Ok(_))) = read(&mut quick) {}
    shared.cut_slowest();
    assert!(matches!(read(&mut slow), Poll::Ready(Some(Err(_)))));
    assert!(read(&mut quick).is_pending());
}

#[test]
fn a_reader_that_is_paced_is_not_cut_for_others() {
    let shared = shared();
    let mut fast = shared.read_all();
    let mut slow = shared.read_all();
    shared.push(Bytes::from(vec![0; SMALL]));
    assert!(matches!(read(&mut fast), Poll::Ready(Some(Ok(_)))));
    slow.is_paced();
    shared.cut_slowest();
    assert!(matches!(read(&mut slow), Poll::Ready(Some(Ok(_)))));
    shared.push(Bytes::from(vec![0; SMALL]));
    assert!(matches!(read(&mut slow), Poll::Ready(Some(Ok(_)))));
    shared.cut_slowest();
    assert!(matches!(read(&mut fast), Poll::Ready(Some(Err(_)))));
}
