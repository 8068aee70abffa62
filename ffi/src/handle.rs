//! Opaque handles: a tag that tells their kind and that they live, and what they hold.

use std::sync::atomic::AtomicU64;

/// What every handle points to: the tag first, so that a pointer to one kind can be told from another.
#[repr(C)]
pub(crate) struct Tagged<T> {
    /// Distinguishes the kinds; zero once freed.
    pub tag: AtomicU64,
    /// What the handle holds.
    pub inner: T,
}

/// What a pointer to an opaque struct is checked for.
pub(crate) trait Handle: Sized {
    /// What the handle holds.
    type Inner;
    /// The tag of a live handle of this kind.
    const TAG: u64;
    /// Tag and content.
    fn tagged(&self) -> &Tagged<Self::Inner>;
    /// A new handle that the caller of the library will own.
    fn give(inner: Self::Inner) -> *mut Self;
}

/// Makes a struct with the one field `tagged` a handle.
macro_rules! handle_type {
    ($name:ident, $inner:ty, $tag:literal) => {
        const _: () = assert!(std::mem::offset_of!($name, tagged) == 0);

        impl $crate::handle::Handle for $name {
            type Inner = $inner;
            const TAG: u64 = $tag;
            fn tagged(&self) -> &Tagged<$inner> {
                &self.tagged
            }
            fn give(inner: $inner) -> *mut Self {
                Box::into_raw(Box::new($name { tagged: Tagged { tag: $tag.into(), inner } }))
            }
        }
    };
}
pub(crate) use handle_type;
