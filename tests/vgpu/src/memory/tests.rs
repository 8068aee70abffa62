//! Every check of a block's accesses, without an interpreter.

use super::*;
use crate::report::Other;

/// A block with 64 threads and two shared variables, of 200 and of 1024 bytes, the second at 512.
pub fn block() -> (Launch, Block) {
    block_of(64)
}

pub fn block_of(threads: u32) -> (Launch, Block) {
    let checks = Checks::default();
    let shared = vec![
        Region { name: "`a`".into(), start: 0, bytes: 200 },
        Region { name: "dynamic shared memory".into(), start: 512, bytes: 1024 },
    ];
    let mut block = Block::new(BlockShape { threads, shared, local: 24 }, checks.clone());
    block.start(0);
    (Launch::begin(checks), block)
}

pub fn at(warp: u32, pc: u32, lanes: u32) -> At {
    At { warp, pc, lanes }
}

pub fn lanes_from(base: u64, stride: u64) -> [u64; 32] {
    std::array::from_fn(|lane| base.wrapping_add(lane as u64 * stride))
}

fn kind<T>(result: Checked<T>) -> (FaultKind, u32, String) {
    let fault = result.err().expect("a fault");
    (fault.kind, fault.lanes, fault.note)
}

#[test]
fn global_accesses_are_bounded_to_the_byte() {
    let (mut l, mut b) = block();
    let a = arena().allocate(100).unwrap();
    // 32 lanes of 4 bytes need 128 bytes: lanes 25.. are outside.
    let result = b.store(&mut l, at(0, 0, !0), Space::Global, &lanes_from(a, 4), 4);
    let (what, lanes, note) = kind(result);
    assert_eq!((what, lanes), (FaultKind::OutOfBounds, !0 << 25));
    assert!(
        note.starts_with("4-byte global write: ") && note.ends_with("0 bytes past the end of a 100-byte allocation")
    );
    assert!(b.store(&mut l, at(0, 0, !(!0 << 25)), Space::Global, &lanes_from(a, 4), 4).is_ok());
    // One byte too far.
    let odd = arena().allocate(102).unwrap();
    let (what, _, note) = kind(b.store(&mut l, at(0, 0, 1), Space::Global, &[odd + 100; 32], 4));
    assert_eq!(what, FaultKind::OutOfBounds);
    assert!(note.ends_with("0 bytes past the end of a 102-byte allocation"), "{note}");
    let (what, _, note) = kind(b.load(&mut l, at(0, 0, 1), Space::Global, &[a - 16; 32], 16));
    assert_eq!(what, FaultKind::OutOfBounds);
    assert!(note.ends_with("16 bytes before a 100-byte allocation"), "{note}");
    assert_eq!(kind(b.load(&mut l, at(0, 0, 2), Space::Global, &[8; 32], 8)).0, FaultKind::OutOfBounds);
    arena().free(a);
    let (what, _, note) = kind(b.load(&mut l, at(0, 0, 1), Space::Global, &[a; 32], 4));
    assert_eq!(what, FaultKind::UseAfterFree);
    assert!(note.ends_with("is byte 0 of a 100-byte allocation that was freed"));
}

#[test]
fn misaligned_lanes_are_named() {
    let (mut l, mut b) = block();
    let a = arena().allocate(4096).unwrap();
    for (size, bad) in [(2, 1), (4, 2), (8, 4), (16, 8)] {
        let mut addresses = lanes_from(a, 16);
        addresses[5] += bad;
        for space in [Space::Global, Space::Shared, Space::Local] {
            let (what, lanes, _) = kind(b.store(&mut l, at(0, 0, !0), space, &addresses, size));
            assert_eq!((what, lanes), (FaultKind::Misaligned, 1 << 5), "{space:?} {size}");
        }
    }
    let addresses = std::array::from_fn(|lane| a + 1 + lane as u64 * 4);
    assert_eq!(kind(b.load(&mut l, at(0, 0, 0xff00), Space::Global, &addresses, 4)).1, 0xff00);
}

#[test]
fn undefined_bytes_are_reported_by_lane_and_element() {
    let (mut l, mut b) = block();
    let a = arena().allocate(512).unwrap();
    arena().mark_initialised(a, 256);
    arena().mark_initialised(a + 264, 248);
    let addresses = lanes_from(a, 16);
    for space in [Space::Global, Space::Shared] {
        let base = if space == Space::Global { a } else { 512 };
        let addresses = lanes_from(base, 16);
        if space == Space::Shared {
            let all = at(0, 0, !0);
            b.store(&mut l, all, space, &addresses, 16).unwrap();
            b.store_undefined(space, 0, &addresses, 1 << 16, 0, 8).unwrap();
        }
        let access = b.load(&mut l, at(0, 0, !0), space, &addresses, 16).unwrap();
        assert_eq!(access.undefined, 1 << 16);
        assert_eq!(b.undefined(space, 0, &addresses, !0, 0, 4), 1 << 16);
        assert_eq!(b.undefined(space, 0, &addresses, !0, 4, 4), 1 << 16);
        assert_eq!(b.undefined(space, 0, &addresses, !0, 8, 8), 0);
    }
    // Storing makes bytes defined, and only those.
    b.store(&mut l, at(0, 0, 1), Space::Global, &[a + 256; 32], 4).unwrap();
    assert_eq!(b.load(&mut l, at(0, 0, 1), Space::Global, &[a + 256; 32], 8).unwrap().undefined, 1);
    b.store(&mut l, at(0, 0, 1), Space::Global, &[a + 260; 32], 4).unwrap();
    assert_eq!(b.load(&mut l, at(0, 0, !0), Space::Global, &addresses, 16).unwrap().undefined, 0);
    // A whole warp's store too.
    arena().mark_uninitialised(a, 512);
    b.store(&mut l, at(0, 0, !0), Space::Global, &lanes_from(a + 128, 4), 4).unwrap();
    assert!(arena().is_initialised(a + 128, 128) && !arena().is_initialised(a + 127, 1));
    assert!(!arena().is_initialised(a + 256, 1));
    let (what, lanes, note) = kind(b.store_undefined(Space::Global, 0, &addresses, 6, 4, 4));
    assert_eq!((what, lanes), (FaultKind::UndefinedStore, 6));
    assert!(note.ends_with("is byte 20 of a 512-byte allocation"), "{note}");
}

#[test]
fn shared_memory_knows_its_variables() {
    let (mut l, mut b) = block();
    let mut store = |offset: u64, size| b.store(&mut l, at(1, 0, 1), Space::Shared, &[offset; 32], size).map(|_| ());
    assert!(store(196, 4).is_ok());
    assert!(store(SHARED_WINDOW + 1528, 8).is_ok());
    assert!(kind(store(192, 16)).2.ends_with("shared offset 200 is 0 bytes past the end of `a` (200 bytes)"));
    assert!(kind(store(508, 4)).2.ends_with("shared offset 508 is 4 bytes before dynamic shared memory (1024 bytes)"));
    assert!(kind(store(1536, 1)).2.ends_with("0 bytes past the end of dynamic shared memory (1024 bytes)"));
    assert_eq!(kind(store(0xffff_fffc, 4)).0, FaultKind::OutOfBounds);
    b.start(1);
    assert_eq!(
        b.load(&mut l, at(1, 0, 1), Space::Shared, &[196; 32], 4).unwrap().undefined,
        1,
        "a new block starts undefined"
    );
}

#[test]
fn local_memory_is_the_threads_own() {
    let (mut l, mut b) = block();
    let offsets = [8; 32];
    let access = b.store(&mut l, at(1, 0, !0), Space::Local, &offsets, 8).unwrap();
    for lane in 0..32 {
        // SAFETY: a checked access of eight bytes per lane.
        unsafe { (access.pointer[lane] as *mut u64).write(lane as u64) };
    }
    let access = b.load(&mut l, at(1, 0, !0), Space::Local, &offsets.map(|o| o + LOCAL_WINDOW), 8).unwrap();
    assert_eq!(access.undefined, 0);
    for lane in 0..32 {
        // SAFETY: as above.
        assert_eq!(unsafe { (access.pointer[lane] as *const u64).read() }, lane as u64);
    }
    assert_eq!(b.load(&mut l, at(0, 0, !0), Space::Local, &offsets, 8).unwrap().undefined, !0);
    b.store_undefined(Space::Local, 1, &offsets, 4, 0, 4).unwrap();
    assert_eq!(b.undefined(Space::Local, 1, &offsets, !0, 0, 8), 4);
    assert!(b.load(&mut l, at(1, 0, 1), Space::Local, &[16; 32], 8).is_ok());
    let (what, _, note) = kind(b.load(&mut l, at(1, 0, 1), Space::Local, &[24; 32], 4));
    assert_eq!(what, FaultKind::OutOfBounds);
    assert_eq!(note, "4-byte access at offset 24 of 24 bytes of local memory");
}

#[test]
fn generic_addresses_are_told_apart() {
    let mut addresses = lanes_from(4096, 4);
    addresses[3] = SHARED_WINDOW + 4;
    addresses[9] = LOCAL_WINDOW;
    addresses[10] = LOCAL_WINDOW + 8;
    assert_eq!(generic(&addresses, 0xffff), [(Space::Global, 0xf9f7), (Space::Shared, 8), (Space::Local, 0x600)]);
}

#[test]
fn a_copy_lands_at_the_wait_and_not_before() {
    let (mut l, mut b) = block();
    let a = arena().allocate(512).unwrap();
    arena().mark_initialised(a, 512);
    // SAFETY: a live allocation.
    unsafe { std::ptr::write_bytes(a as *mut u8, 0x11, 512) };
    let to: [u32; 32] = std::array::from_fn(|lane| 512 + lane as u32 * 16);
    let shared = to.map(u64::from);
    let mut from_size = [16; 32];
    from_size[7] = 4;
    from_size[8] = 0;
    let mut from = lanes_from(a, 16);
    from[8] = 1; // Nothing is read from it.
    let traffic = b.cp_async(&mut l, at(0, 5, !0), &to, &from, 16, &from_size).unwrap();
    assert_eq!((traffic.sectors, traffic.wavefronts, traffic.wavefronts_minimum), (17, 4, 4));
    b.cp_commit(0, !0);
    let early = b.load(&mut l, at(0, 9, 2), Space::Shared, &shared, 4).err().unwrap();
    assert_eq!((early.kind, early.lanes), (FaultKind::PendingCopy, 2));
    assert_eq!(early.other, Some(Other { pc: 5, block: None, warp: Some(0), lane: Some(1), what: "cp.async" }));
    assert_eq!(kind(b.store(&mut l, at(1, 9, 2), Space::Shared, &shared, 4)).0, FaultKind::PendingCopy);
    b.cp_wait(0, !0, 1);
    assert_eq!(kind(b.load(&mut l, at(0, 9, 2), Space::Shared, &shared, 4)).0, FaultKind::PendingCopy);
    b.cp_wait(0, 2, 0);
    assert!(b.load(&mut l, at(0, 9, 2), Space::Shared, &shared, 4).is_ok());
    assert_eq!(kind(b.load(&mut l, at(0, 9, 4), Space::Shared, &shared, 4)).0, FaultKind::PendingCopy);
    // SAFETY: a live allocation.
    unsafe { (a as *mut u8).write(0x22) };
    b.cp_wait(0, !0, 0);
    b.warp_sync(0, !0);
    let access = b.load(&mut l, at(0, 10, !0), Space::Shared, &shared, 16).unwrap();
    assert_eq!(access.undefined, 0);
    // SAFETY: a checked access of 16 bytes per lane.
    let word = |lane: usize| unsafe { (access.pointer[lane] as *const u128).read() };
    assert_eq!(word(0), 0x1111_1111_1111_1111_1111_1111_1111_1122, "the data moves at the wait");
    assert_eq!((word(7), word(8)), (0x1111_1111, 0));
}

#[test]
fn a_copy_carries_undefined_bytes_and_checks_its_source() {
    let (mut l, mut b) = block();
    let a = arena().allocate(512).unwrap();
    arena().mark_initialised(a, 40);
    let to: [u32; 32] = std::array::from_fn(|lane| 512 + lane as u32 * 16);
    b.cp_async(&mut l, at(0, 1, 0xf), &to, &lanes_from(a, 16), 16, &[16; 32]).unwrap();
    b.cp_wait_all(0, !0);
    assert_eq!(b.load(&mut l, at(0, 2, 0xf), Space::Shared, &to.map(u64::from), 16).unwrap().undefined, 0b1100);
    let (what, lanes, _) = kind(b.cp_async(&mut l, at(0, 1, !0), &to, &lanes_from(a + 16, 16), 16, &[16; 32]));
    assert_eq!((what, lanes), (FaultKind::OutOfBounds, 1 << 31));
    let mut short = [16; 32];
    short[31] = 8;
    let (what, lanes, note) = kind(b.cp_async(&mut l, at(0, 1, !0), &to, &lanes_from(a + 16, 16), 16, &short));
    assert_eq!((what, lanes), (FaultKind::OutOfBounds, 1 << 31));
    assert!(note.contains("0 bytes past the end"), "{note}");
    assert_eq!(kind(b.cp_async(&mut l, at(0, 1, 1), &to, &[a + 4; 32], 16, &[16; 32])).0, FaultKind::Misaligned);
}

#[test]
fn lanes_may_store_the_same_but_not_different_values() {
    let (mut l, mut b) = block();
    let mut addresses = lanes_from(512, 4);
    addresses[9] = addresses[3];
    let access = b.store(&mut l, at(0, 0, !0), Space::Shared, &addresses, 4).unwrap();
    assert_eq!(access.clash, 1 << 9 | 1 << 3);
    assert!(access.check_clash(|_, _| true).is_ok());
    assert_eq!(kind(access.check_clash(|lane, _| lane != 3)).1, 1 << 3);
    addresses[9] = 0;
    assert_eq!(b.store(&mut l, at(0, 0, !0), Space::Shared, &addresses, 4).unwrap().clash, 0);
}

#[test]
fn updates_of_undefined_memory_are_faults() {
    use crate::sync::{Order, Scope, Strong, StrongKind};
    let (mut l, mut b) = block();
    let add = Strong { kind: StrongKind::Update, order: Order::Relaxed, scope: Scope::Gpu };
    let a = arena().allocate(64).unwrap();
    assert_eq!(kind(b.strong(&mut l, at(0, 0, !0), Space::Global, &[a; 32], 4, add)).0, FaultKind::UndefinedAtomic);
    arena().mark_initialised(a, 4);
    assert!(b.strong(&mut l, at(0, 0, !0), Space::Global, &[a; 32], 4, add).is_ok());
    assert_eq!(kind(b.strong(&mut l, at(0, 0, 1), Space::Shared, &[0; 32], 4, add)).0, FaultKind::UndefinedAtomic);
}

#[test]
fn definedness_has_levels() {
    assert!(Definedness::Lenient.check_branch(1).is_ok() && Definedness::Off.check_address(1).is_ok());
    assert_eq!(kind(Definedness::Strict.check_branch(6)).0, FaultKind::UndefinedBranch);
    assert_eq!(kind(Definedness::Lenient.check_address(6)).1, 6);
    assert!(Definedness::Strict.check_branch(0).is_ok());
}
