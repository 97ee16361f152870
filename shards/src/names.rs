//! The names (indices) by which things are known between shards, host and control.

use core::fmt;

macro_rules! index {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub $inner);

        impl $name {
            /// As an index into the table that this name belongs to.
            #[inline]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

index!(
    /// A shard, counted from 0.
    ShardId(u16)
);
index!(
    /// A connection slot of one shard's host. Slots are dense (0 and up) and used again after a close.
    Conn(u32)
);
index!(
    /// A customer: index into the snapshot's customers, and kept across snapshots for the process's life.
    CustomerId(u32)
);
index!(
    /// A vendor: index into the snapshot's vendors, and kept across snapshots for the process's life.
    VendorId(u32)
);
index!(
    /// One bind towards a vendor: index into the links of the vendor's home shard.
    LinkId(u32)
);
