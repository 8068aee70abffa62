//! `cuInit`, `cuDriverGetVersion` and what a device says of itself.

use super::arch::{BLOCK_THREADS, REGISTERS, SHARED_DEFAULT, SHARED_RESERVED};
use super::args::Out;
use super::errors::{INVALID_VALUE, Result};
use super::state::state;
use std::ffi::{c_char, c_int, c_uint};

const UUID: [u8; 16] = *b"bmn virtual gpu0";

/// `CUdevice_attribute` by number; an attribute that no table row names is 0, as for a feature that is absent.
fn attribute(number: c_int) -> c_int {
    let (config, limits) = (state().config(), state().limits());
    match number {
        1..=3 => BLOCK_THREADS, // threads of a block, its x, its y
        4 => 64,                // z of a block
        5 => i32::MAX,          // x of a grid
        6 | 7 => 65535,         // y and z of a grid
        8 => SHARED_DEFAULT,    // shared memory per block
        9 => 64 << 10,          // constant memory
        10 => 32,               // warp size
        11 => i32::MAX,         // pitch
        12 | 82 => REGISTERS,   // per block, per SM
        13 => 1_500_000,        // clock, kHz
        14 => 512,              // texture alignment
        15 => 1,                // copies overlap kernels
        16 => limits.multiprocessors,
        19 => 1,         // host memory can be mapped
        31 => 1,         // concurrent kernels
        36 => 7_000_000, // memory clock, kHz
        37 => 256,       // bus width, bits
        38 => limits.l2,
        39 => limits.threads, // per SM
        40 => 2,              // copy engines
        41 => 1,              // unified addressing
        75 => config.compute_capability.0,
        76 => config.compute_capability.1,
        78 => 1, // stream priorities
        81 => limits.shared,
        83 => 1, // managed memory
        89 => 1, // concurrent managed access
        91 => 1, // host pointers of registered memory are device pointers
        95 => 1, // cooperative launch
        97 => limits.shared_block,
        106 => limits.blocks, // per SM
        111 => SHARED_RESERVED,
        115 => c_int::from(config.memory_pools),
        _ => 0,
    }
}

fn uuid(place: Out<[u8; 16]>, device: c_int) -> Result {
    state().device(device)?;
    place.set(UUID)
}

api! {
    fn cuInit(flags: c_uint) {
        if flags != 0 {
            return Err(INVALID_VALUE);
        }
        state().initialise()
    }

    fn cuDriverGetVersion(version: Out<c_int>) {
        version.set(state().config().driver_version)
    }

    fn cuDeviceGet(device: Out<c_int>, ordinal: c_int) {
        state().device(ordinal)?;
        device.set(ordinal)
    }

    fn cuDeviceGetCount(count: Out<c_int>) {
        state().initialised()?;
        count.set(state().config().devices)
    }

    fn cuDeviceGetName(name: Out<u8>, room: c_int, device: c_int) {
        state().device(device)?;
        let room = usize::try_from(room).ok().filter(|room| *room > 0).ok_or(INVALID_VALUE)?;
        let (major, minor) = state().config().compute_capability;
        let mut text = format!("Virtual {} (sm_{major}{minor})", state().limits().example).into_bytes();
        text.truncate(room - 1);
        text.push(0);
        name.set_all(&text, room)
    }

    fn cuDeviceGetUuid(place: Out<[u8; 16]>, device: c_int) { uuid(place, device) }
    fn cuDeviceGetUuid_v2(place: Out<[u8; 16]>, device: c_int) { uuid(place, device) }

    fn cuDeviceTotalMem_v2(bytes: Out<usize>, device: c_int) {
        state().device(device)?;
        bytes.set(state().config().memory)
    }

    fn cuDeviceGetAttribute(value: Out<c_int>, number: c_int, device: c_int) {
        state().device(device)?;
        value.set(attribute(number))
    }

    fn cuDeviceComputeCapability(major: Out<c_int>, minor: Out<c_int>, device: c_int) {
        state().device(device)?;
        let capability = state().config().compute_capability;
        major.set(capability.0)?;
        minor.set(capability.1)
    }

    fn cuDeviceGetPCIBusId(text: Out<u8>, room: c_int, device: c_int) {
        state().device(device)?;
        let id = b"0000:00:00.0\0";
        let room = usize::try_from(room).ok().filter(|room| *room >= id.len()).ok_or(INVALID_VALUE)?;
        text.set_all(id, room)
    }

    fn cuDeviceCanAccessPeer(can: Out<c_int>, device: c_int, peer: c_int) {
        state().device(device)?;
        state().device(peer)?;
        can.set(0)
    }

    fn cuProfilerStart() { state().initialised() }
    fn cuProfilerStop() { state().initialised() }
}

/// `cuDeviceGetName` writes bytes; that they are `char`s of C is all that differs.
const _: () = assert!(size_of::<c_char>() == 1);
