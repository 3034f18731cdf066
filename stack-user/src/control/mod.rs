//! Loading and attaching the XDP program, its maps, and what netlink knows.
