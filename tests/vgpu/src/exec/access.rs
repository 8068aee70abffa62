//! Memory instructions: what moves between registers and the memories, once these have permitted it.

use super::float::{Brain, Half, Pair, Small, zip};
use super::launch::Run;
use super::registers::{FULL, Registers, each_lane};
use super::resident::Resident;
use super::warp::Warp;
use crate::decode::{self, Inst, Op, Reduce, Row, Type};
use crate::memory::{Access, At, Definedness, Space, generic};
use crate::report::{Checked, FaultKind, Violation};
use crate::sync::Strong;
use crate::tensor;

/// The address of every lane.
#[inline(always)]
fn addresses(r: &Registers, i: &Inst) -> [u64; 32] {
    let offset = i.offset as u64;
    if i.short_address {
        r.word(i.src[0]).map(|a| u64::from(a).wrapping_add(offset) & 0xffff_ffff)
    } else {
        r.wide(i.src[0]).map(|a| a.wrapping_add(offset))
    }
}

/// The memories that an access touches, with the lanes of each.
#[inline(always)]
fn spaces(space: decode::Space, addresses: &[u64; 32], lanes: u32) -> [(Space, u32); 3] {
    let one = |space| [(space, lanes), (Space::Global, 0), (Space::Global, 0)];
    match space {
        decode::Space::Global | decode::Space::Param => one(Space::Global),
        decode::Space::Shared => one(Space::Shared),
        decode::Space::Local => one(Space::Local),
        decode::Space::Generic => generic(addresses, lanes),
    }
}

/// Reads an element of every lane into a row.
#[inline(always)]
fn read<T: Copy>(pointers: &[*mut u8; 32], lanes: u32, offset: usize, mut put: impl FnMut(usize, T)) {
    each_lane(lanes, |lane| {
        // SAFETY: the memory permitted the access to every lane of `lanes`, `offset` lies within it, and it is aligned.
        put(lane, unsafe { pointers[lane].add(offset).cast::<T>().read() });
    });
}

#[inline(always)]
fn load_element(r: &mut Registers, i: &Inst, row: Row, pointers: &[*mut u8; 32], lanes: u32, offset: usize) {
    if i.wide_list {
        let target = r.wide_mut(row);
        match i.ty {
            Type::U8 => read(pointers, lanes, offset, |l, v: u8| target[l] = v.into()),
            Type::S8 => read(pointers, lanes, offset, |l, v: i8| target[l] = v as u64),
            Type::S16 => read(pointers, lanes, offset, |l, v: i16| target[l] = v as u64),
            Type::S32 => read(pointers, lanes, offset, |l, v: i32| target[l] = v as u64),
            ty if ty.size() == 2 => read(pointers, lanes, offset, |l, v: u16| target[l] = v.into()),
            ty if ty.size() == 4 => read(pointers, lanes, offset, |l, v: u32| target[l] = v.into()),
            _ => read(pointers, lanes, offset, |l, v: u64| target[l] = v),
        }
    } else {
        let target = r.word_mut(row);
        match i.ty {
            Type::U8 => read(pointers, lanes, offset, |l, v: u8| target[l] = v.into()),
            Type::S8 => read(pointers, lanes, offset, |l, v: i8| target[l] = v as u32),
            Type::S16 => read(pointers, lanes, offset, |l, v: i16| target[l] = v as u32),
            ty if ty.size() == 2 => read(pointers, lanes, offset, |l, v: u16| target[l] = v.into()),
            _ => read(pointers, lanes, offset, |l, v: u32| target[l] = v),
        }
    }
}

#[inline(always)]
fn write<T: Copy>(pointers: &[*mut u8; 32], lanes: u32, offset: usize, get: impl Fn(usize) -> T) {
    each_lane(lanes, |lane| {
        // SAFETY: as in `read`.
        unsafe { pointers[lane].add(offset).cast::<T>().write(get(lane)) };
    });
}

#[inline(always)]
fn store_element(r: &Registers, i: &Inst, row: Row, pointers: &[*mut u8; 32], lanes: u32, offset: usize) {
    let size = i.ty.size();
    if i.wide_list {
        let source = r.wide(row);
        match size {
            1 => write(pointers, lanes, offset, |l| source[l] as u8),
            2 => write(pointers, lanes, offset, |l| source[l] as u16),
            4 => write(pointers, lanes, offset, |l| source[l] as u32),
            _ => write(pointers, lanes, offset, |l| source[l]),
        }
    } else {
        let source = r.word(row);
        match size {
            1 => write(pointers, lanes, offset, |l| source[l] as u8),
            2 => write(pointers, lanes, offset, |l| source[l] as u16),
            _ => write(pointers, lanes, offset, |l| source[l]),
        }
    }
}

/// Whether memory holds what the lane stores.
fn holds(r: &Registers, i: &Inst, lane: usize, pointer: *const u8) -> bool {
    let size = i.ty.size();
    i.list.iter().enumerate().all(|(k, row)| {
        let value = if i.wide_list { r.wide(*row)[lane] } else { u64::from(r.word(*row)[lane]) };
        // SAFETY: the store of the lane was permitted and made; bytes need no alignment.
        let bytes = unsafe { std::slice::from_raw_parts(pointer.add(k * size), size) };
        bytes == &value.to_le_bytes()[..size]
    })
}

impl Run<'_> {
    #[inline(always)]
    fn count(&mut self, pc: u32, space: Space, access: &Access) {
        let counters = &mut self.counters[pc as usize];
        match space {
            Space::Global => counters.global(access),
            Space::Shared => counters.shared(access),
            Space::Local => {}
        }
    }

    #[inline(always)]
    fn check_address(&self, warp: &Warp, row: Row, lanes: u32) -> Checked<()> {
        self.options.definedness.check_address(lanes & !warp.registers.defined(row))
    }

    #[inline(always)]
    pub(super) fn load(
        &mut self,
        block: &mut Resident,
        warp: &mut Warp,
        i: &Inst,
        access: decode::Access,
        lanes: u32,
    ) -> Checked<()> {
        self.check_address(warp, i.src[0], lanes)?;
        let addresses = addresses(&warp.registers, i);
        let element = i.ty.size() as u32;
        if access.space == decode::Space::Param || addresses[lanes.trailing_zeros() as usize] >> 56 == 3 {
            return self.load_param(warp, i, &addresses, lanes);
        }
        for (space, lanes) in spaces(access.space, &addresses, lanes) {
            if lanes == 0 {
                continue;
            }
            let at = At { warp: warp.index, pc: warp.pc, lanes };
            let size = element * i.list.len() as u32;
            let found = match access.strong {
                None => block.memory.load(&mut self.memory, at, space, &addresses, size)?,
                Some(strong) => block.memory.strong(&mut self.memory, at, space, &addresses, size, strong)?,
            };
            self.count(warp.pc, space, &found);
            for (k, row) in i.list.iter().enumerate() {
                let offset = k as u32 * element;
                load_element(&mut warp.registers, i, *row, &found.pointer, lanes, offset as usize);
                let undefined = match found.undefined {
                    0 => 0,
                    some => block.memory.undefined(space, warp.index, &addresses, some, offset, element),
                };
                warp.registers.define(*row, lanes, !undefined);
            }
        }
        Ok(())
    }

    /// The launch's parameter block; it has no generic address in the arena.
    fn load_param(&mut self, warp: &mut Warp, i: &Inst, addresses: &[u64; 32], lanes: u32) -> Checked<()> {
        let size = i.ty.size();
        let mut pointers = [std::ptr::null_mut(); 32];
        let mut outside = 0;
        each_lane(lanes, |lane| {
            let offset = (addresses[lane] & 0x00ff_ffff_ffff_ffff) as usize;
            match self.params.get(offset..).filter(|rest| rest.len() >= size * i.list.len()) {
                Some(rest) => pointers[lane] = rest.as_ptr().cast_mut(),
                None => outside |= 1 << lane,
            }
        });
        if outside != 0 {
            let note = format!("the parameter block has {} bytes", self.params.len());
            return Err(Violation::new(FaultKind::OutOfBounds, outside, note));
        }
        for (k, row) in i.list.iter().enumerate() {
            // The block may lie anywhere: read bytes.
            let mut values = [0u64; 32];
            each_lane(lanes, |lane| {
                let mut bytes = [0; 8];
                // SAFETY: `size` bytes at this place were found above.
                unsafe { std::ptr::copy_nonoverlapping(pointers[lane].add(k * size), bytes.as_mut_ptr(), size) };
                values[lane] = u64::from_le_bytes(bytes);
            });
            let sources: [*mut u8; 32] = std::array::from_fn(|lane| (&raw mut values[lane]).cast());
            load_element(&mut warp.registers, i, *row, &sources, lanes, 0);
            warp.registers.define(*row, lanes, FULL);
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn store(
        &mut self,
        block: &mut Resident,
        warp: &mut Warp,
        i: &Inst,
        access: decode::Access,
        lanes: u32,
    ) -> Checked<()> {
        self.check_address(warp, i.src[0], lanes)?;
        let addresses = addresses(&warp.registers, i);
        let element = i.ty.size() as u32;
        for (space, lanes) in spaces(access.space, &addresses, lanes) {
            if lanes == 0 {
                continue;
            }
            let at = At { warp: warp.index, pc: warp.pc, lanes };
            let size = element * i.list.len() as u32;
            let found = match access.strong {
                None => block.memory.store(&mut self.memory, at, space, &addresses, size)?,
                Some(strong) => block.memory.strong(&mut self.memory, at, space, &addresses, size, strong)?,
            };
            self.count(warp.pc, space, &found);
            for (k, row) in i.list.iter().enumerate() {
                let offset = k as u32 * element;
                store_element(&warp.registers, i, *row, &found.pointer, lanes, offset as usize);
                let undefined = lanes & !warp.registers.defined(*row);
                if undefined != 0 {
                    block.memory.store_undefined(space, warp.index, &addresses, undefined, offset, element)?;
                }
            }
            if found.clash != 0 {
                found.check_clash(|lane, pointer| holds(&warp.registers, i, lane, pointer))?;
            }
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn atomic(
        &mut self,
        block: &mut Resident,
        warp: &mut Warp,
        i: &Inst,
        operation: Reduce,
        space: decode::Space,
        strong: Strong,
        lanes: u32,
    ) -> Checked<()> {
        self.check_address(warp, i.src[0], lanes)?;
        let operands = warp.registers.defined(i.src[1]) & warp.registers.defined(i.src[2]);
        if lanes & !operands != 0 && self.options.definedness != Definedness::Off {
            let note = "the operand of the update is undefined";
            return Err(Violation::new(FaultKind::UndefinedAtomic, lanes & !operands, note));
        }
        let addresses = addresses(&warp.registers, i);
        let size = i.ty.size();
        for (space, lanes) in spaces(space, &addresses, lanes) {
            if lanes == 0 {
                continue;
            }
            let at = At { warp: warp.index, pc: warp.pc, lanes };
            let found = block.memory.strong(&mut self.memory, at, space, &addresses, size as u32, strong)?;
            self.count(warp.pc, space, &found);
            // Hardware promises no order of the lanes.
            let first = match self.options.schedule {
                super::Schedule::InOrder => 0,
                super::Schedule::Shuffled => self.random.below(32),
            };
            for lane in (0..32).map(|l| (l + first) % 32).filter(|l| lanes >> l & 1 == 1) {
                let r = &mut warp.registers;
                let operand = |r: &Registers, k: usize| {
                    if size == 8 { r.wide(i.src[k])[lane] } else { u64::from(r.word(i.src[k])[lane]) }
                };
                let (b, c) = (operand(r, 1), operand(r, 2));
                let pointer = found.pointer[lane];
                let mut bytes = [0; 8];
                // SAFETY: the memory permitted `size` bytes at the lane's pointer; launches are serialised.
                unsafe { std::ptr::copy_nonoverlapping(pointer, bytes.as_mut_ptr(), size) };
                let old = u64::from_le_bytes(bytes);
                let new = updated(operation, i.ty, old, b, c).to_le_bytes();
                // SAFETY: as above.
                unsafe { std::ptr::copy_nonoverlapping(new.as_ptr(), pointer, size) };
                if size == 8 {
                    r.wide_mut(i.dst[0])[lane] = old;
                } else {
                    r.word_mut(i.dst[0])[lane] = old as u32;
                }
            }
            warp.registers.define(i.dst[0], lanes, FULL);
        }
        Ok(())
    }

    pub(super) fn async_copy(
        &mut self,
        block: &mut Resident,
        warp: &mut Warp,
        i: &Inst,
        partial: bool,
        lanes: u32,
    ) -> Checked<()> {
        let r = &warp.registers;
        self.check_address(warp, i.src[0], lanes)?;
        self.check_address(warp, i.src[1], lanes)?;
        let to = addresses(r, i).map(|a| a as u32);
        let from = r.wide(i.src[1]).map(|a| a.wrapping_add(i.from_offset as u64));
        let mut sizes = [i.imm; 32];
        if partial {
            self.check_address(warp, i.src[2], lanes)?;
            sizes = *r.word(i.src[2]);
            let mut long = 0;
            for (lane, size) in sizes.iter().enumerate() {
                long |= u32::from(*size > i.imm) << lane & lanes;
            }
            if long != 0 {
                let note = format!("the source size exceeds the {} bytes of the copy", i.imm);
                return Err(Violation::new(FaultKind::InvalidInstruction, long, note));
            }
        }
        let at = At { warp: warp.index, pc: warp.pc, lanes };
        let traffic = block.memory.cp_async(&mut self.memory, at, &to, &from, i.imm, &sizes)?;
        self.counters[warp.pc as usize].copy(&traffic);
        Ok(())
    }

    #[inline(always)]
    pub(super) fn matrix(&mut self, block: &mut Resident, warp: &mut Warp, i: &Inst) -> Checked<()> {
        if i.op == Op::MoveMatrix {
            tensor::move_matrix(&mut warp.registers, i);
            return Ok(());
        }
        let rows = if i.list.len() == 4 { FULL } else { (1 << (8 * i.list.len())) - 1 };
        let at = At { warp: warp.index, pc: warp.pc, lanes: FULL };
        let addresses = addresses(&warp.registers, i);
        match i.op {
            Op::LoadMatrix { transposed } => {
                self.check_address(warp, i.src[0], rows)?;
                let found = block.memory.load_matrix(at, &addresses, rows)?;
                self.counters[warp.pc as usize].shared(&found);
                let memory = &block.memory;
                let undefined = |row: usize, byte: usize| {
                    memory.undefined(Space::Shared, warp.index, &addresses, 1 << row, byte as u32, 2) != 0
                };
                let ask: Option<&dyn Fn(usize, usize) -> bool> =
                    if found.undefined == 0 { None } else { Some(&undefined) };
                tensor::load_matrix(&mut warp.registers, i, &found.pointer, transposed, ask);
            }
            Op::StoreMatrix { transposed } => {
                self.check_address(warp, i.src[0], rows)?;
                let found = block.memory.store_matrix(at, &addresses, rows)?;
                self.counters[warp.pc as usize].shared(&found);
                for (row, byte) in tensor::store_matrix(&warp.registers, i, &found.pointer, transposed) {
                    let (lane, byte) = (1 << row, byte as u32);
                    block.memory.store_undefined(Space::Shared, warp.index, &addresses, lane, byte, 2)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The value that replaces `old`.
fn updated(operation: Reduce, ty: Type, old: u64, b: u64, c: u64) -> u64 {
    match operation {
        Reduce::Exchange => b,
        Reduce::CompareAndSwap => {
            if old == b & mask(ty) {
                c
            } else {
                old
            }
        }
        Reduce::And => old & b,
        Reduce::Or => old | b,
        Reduce::Xor => old ^ b,
        Reduce::Increment => {
            if old as u32 >= b as u32 {
                0
            } else {
                old + 1
            }
        }
        Reduce::Decrement => {
            if old == 0 || old as u32 > b as u32 {
                b
            } else {
                old - 1
            }
        }
        Reduce::Add => sum(ty, old, b),
        Reduce::Min => smaller(ty, old, b),
        Reduce::Max => {
            if smaller(ty, old, b) == old {
                b
            } else {
                old
            }
        }
    }
}

fn mask(ty: Type) -> u64 {
    if ty.size() == 8 { u64::MAX } else { (1 << (8 * ty.size())) - 1 }
}

fn sum(ty: Type, a: u64, b: u64) -> u64 {
    let pair = |a: u64| Pair(a as u16, (a >> 16) as u16);
    match ty {
        Type::F32 => (f32::from_bits(a as u32) + f32::from_bits(b as u32)).to_bits().into(),
        Type::F64 => (f64::from_bits(a) + f64::from_bits(b)).to_bits(),
        Type::F16 => small::<Half>(a as u16, b as u16).into(),
        Type::BF16 => small::<Brain>(a as u16, b as u16).into(),
        Type::F16x2 | Type::BF16x2 => {
            let add = if ty == Type::F16x2 { small::<Half> } else { small::<Brain> };
            let both = zip(pair(a), pair(b), add);
            u64::from(both.0) | u64::from(both.1) << 16
        }
        _ => a.wrapping_add(b),
    }
}

fn small<T: Small>(a: u16, b: u16) -> u16 {
    T::from_f32(T::from_bits(a).to_f32() + T::from_bits(b).to_f32()).bits()
}

fn smaller(ty: Type, a: u64, b: u64) -> u64 {
    let first = match ty {
        Type::S32 => (a as i32) <= (b as i32),
        Type::S64 => (a as i64) <= (b as i64),
        Type::U32 => (a as u32) <= (b as u32),
        Type::F16 => Half(a as u16).to_f32() <= Half(b as u16).to_f32(),
        Type::BF16 => Brain(a as u16).to_f32() <= Brain(b as u16).to_f32(),
        _ => a <= b,
    };
    if first { a } else { b }
}
